"""Copies of IR trees with replaced children.

The counterpart of `walk`. A node with a replaced child is copied; a node without one may be
returned as it is.
"""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, assert_never

from onewafer.csl import ir
from onewafer.csl.ir import walk

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.csl.ir.walk import Block

    Change = Callable[[ir.Expression], ir.Expression]


def with_operands(expression: ir.Expression, change: Change) -> ir.Expression:
    """Return an expression with its direct subexpressions changed, from left to right."""
    return _WITH_OPERANDS[type(expression)](expression, change)


def with_roots(statement: ir.Statement, change: Change) -> ir.Statement:
    """Return a copy of a statement with the expressions that it evaluates itself changed.

    The expressions are those of `walk.roots`, in that order; nested blocks stay.
    """
    return _WITH_ROOTS[type(statement)](statement, change)


def with_blocks(statement: ir.Statement, change: Callable[[Block], Block]) -> ir.Statement:
    """Return a copy of a statement with its nested blocks (`walk.blocks`) changed.

    If no block changes, the statement itself is returned.
    """
    before = walk.blocks(statement)
    if not before:
        return statement
    after = [change(block) for block in before]
    if all(map(operator.is_, before, after)):
        return statement
    match statement, after:
        case ir.If(condition=condition, span=span), [then, otherwise]:
            return ir.If(condition, then, otherwise, span)
        case ir.Loop(condition=condition, span=span), [body, step]:
            return ir.Loop(condition, body, step, span)
        case ir.Map(inputs=inputs, output=output, span=span), [body]:
            return ir.Map(inputs, output, body, span)
        case ir.Labelled(span=span, is_unrolled=is_unrolled), [body]:
            return ir.Labelled(body, span, is_unrolled)
        case _:
            return statement


def with_local(statement: ir.Statement, change: Callable[[ir.Local], ir.Local]) -> ir.Statement:
    """Return a copy of a statement with the locals that it sets replaced."""
    copy = _WITH_LOCAL.get(type(statement))
    return statement if copy is None else copy(statement, change)


# --- the children of each kind of statement, put in anew -----------------------------------------


def _copied(statement: ir.Statement, change: Change) -> ir.Statement:
    del change
    return replace(statement)


def _with_call(statement: ir.Evaluate | ir.TailCall, change: Change) -> ir.Statement:
    changed = change(statement.call)
    if not isinstance(changed, ir.Call):
        raise TypeError("only a call stands for itself")
    return type(statement)(changed, statement.span)


def _with_value(statement: ir.Return | ir.Print, change: Change) -> ir.Statement:
    return replace(statement, value=None if statement.value is None else change(statement.value))


def _with_streams(statement: ir.Map, change: Callable[[ir.MapStream], ir.MapStream]) -> ir.Map:
    inputs = tuple(map(change, statement.inputs))
    output = None if statement.output is None else change(statement.output)
    return ir.Map(inputs, output, statement.body, statement.span)


def _with_dsd_roots(statement: ir.DsdStatement, change: Change) -> ir.DsdStatement:
    dest, src0, src1 = (
        None if operand is None else _with_operand(operand, change)
        for operand in (statement.dest, statement.src0, statement.src1)
    )
    scalar = None if statement.scalar is None else change(statement.scalar)
    return ir.DsdStatement(
        statement.operation,
        dest,
        src0,
        src1,
        scalar,
        statement.config,
        statement.span,
        statement.result,
    )


def _with_dsd_result(
    statement: ir.DsdStatement, change: Callable[[ir.Local], ir.Local]
) -> ir.Statement:
    if statement.result is None:
        return statement
    return replace(statement, result=change(statement.result))


def _with_operand(operand: ir.DsdOperand, change: Change) -> ir.DsdOperand:
    match operand:
        case ir.Dsr():
            return operand
        case ir.Scalar(value=value):
            return ir.Scalar(change(value))
        case ir.ScalarDestination(address=address):
            return ir.ScalarDestination(change(address))
        case ir.Vector(dsd=dsd):
            return ir.Vector(change(dsd))
    assert_never(operand)


# Inlining copies every statement of a body at each call: a look-up, no ladder of cases.
_WITH_ROOTS: Final[dict[type, Callable[[Any, Change], ir.Statement]]] = {
    ir.SetLocal: lambda node, change: ir.SetLocal(node.local, change(node.value), node.span),
    ir.Store: lambda node, change: ir.Store(
        node.type, change(node.address), node.offset, change(node.value), node.span
    ),
    ir.Evaluate: _with_call,
    ir.TailCall: _with_call,
    ir.If: lambda node, change: ir.If(change(node.condition), node.then, node.otherwise, node.span),
    ir.Loop: lambda node, change: ir.Loop(change(node.condition), node.body, node.step, node.span),
    ir.Trap: lambda node, change: ir.Trap(change(node.condition), node.message, node.span),
    ir.Return: _with_value,
    ir.Print: _with_value,
    ir.DsdStatement: _with_dsd_roots,
    ir.LoadDsr: lambda node, change: ir.LoadDsr(
        node.dsr, change(node.dsd), node.span, node.saves_address
    ),
    ir.Map: lambda node, change: _with_streams(
        node, lambda stream: ir.MapStream(change(stream.dsd), stream.local, stream.type)
    ),
    ir.Timestamp: lambda node, change: ir.Timestamp(
        change(node.address), node.since_loading, node.span
    ),
    ir.SetFifoLength: lambda node, change: ir.SetFifoLength(
        node.fifo, node.is_written, change(node.length), node.span
    ),
    ir.Break: _copied,
    ir.Continue: _copied,
    ir.Labelled: _copied,
    ir.Activate: _copied,
    ir.SetBlocked: _copied,
    ir.UnblockCommandStream: _copied,
    ir.TimestampControl: _copied,
}
_WITH_LOCAL: Final[dict[type, Callable[[Any, Callable[[ir.Local], ir.Local]], ir.Statement]]] = {
    ir.SetLocal: lambda node, change: ir.SetLocal(change(node.local), node.value, node.span),
    ir.DsdStatement: _with_dsd_result,
    ir.Map: lambda node, change: _with_streams(
        node, lambda stream: ir.MapStream(stream.dsd, change(stream.local), stream.type)
    ),
}


# --- the children of each kind of expression, put in anew ----------------------------------------


def _itself(expression: ir.Expression, change: Change) -> ir.Expression:
    del change
    return expression


# Inlining copies every expression of a body at each call: a look-up, no ladder of cases.
_WITH_OPERANDS: Final[dict[type, Callable[[Any, Change], ir.Expression]]] = {
    ir.Immediate: _itself,
    ir.ReadLocal: _itself,
    ir.AddressOf: _itself,
    ir.Coordinate: _itself,
    ir.Join: lambda node, change: ir.Join(node.type, change(node.low), change(node.high)),
    ir.Load: lambda node, change: ir.Load(
        node.type, change(node.address), node.offset, node.is_volatile
    ),
    ir.Unary: lambda node, change: ir.Unary(node.opcode, node.type, change(node.operand)),
    ir.Convert: lambda node, change: ir.Convert(node.source, node.target, change(node.operand)),
    ir.Binary: lambda node, change: ir.Binary(
        node.opcode, node.type, change(node.left), change(node.right)
    ),
    ir.Select: lambda node, change: ir.Select(
        node.type, change(node.condition), change(node.then), change(node.otherwise)
    ),
    ir.Call: lambda node, change: ir.Call(node.function, tuple(map(change, node.arguments))),
    ir.MakeDsd: lambda node, change: ir.MakeDsd(
        node.descriptor, change(node.base), change(node.extent), change(node.stride), node.span
    ),
    ir.UpdateDsd: lambda node, change: ir.UpdateDsd(
        node.update, change(node.dsd), change(node.value), node.element_bytes
    ),
}
