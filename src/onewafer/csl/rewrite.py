"""Copies of IR trees with other parts: the children of each node, put in anew.

The counterpart of `walk`. A statement with other parts is a new one; one whose parts all stay may
be itself.
"""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, assert_never

from onewafer.csl import ir, walk

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.csl.walk import Block

    Change = Callable[[ir.Expression], ir.Expression]


def with_operands(expression: ir.Expression, change: Change) -> ir.Expression:
    """Return an expression with its direct subexpressions changed, from left to right."""
    return _WITH_OPERANDS[type(expression)](expression, change)


def with_roots(statement: ir.Statement, change: Change) -> ir.Statement:
    """Return a copy of a statement with the expressions that it evaluates itself changed.

    They are those of `walk.roots`, in that order; its blocks stay.
    """
    match statement:
        case ir.SetLocal(local=local, value=value, span=span):
            return ir.SetLocal(local, change(value), span)
        case ir.Store(type=type_, address=address, offset=offset, value=value, span=span):
            return ir.Store(type_, change(address), offset, change(value), span)
        case ir.Evaluate(call=call) | ir.TailCall(call=call):
            changed = change(call)
            if not isinstance(changed, ir.Call):
                raise TypeError("only a call stands for itself")
            return replace(statement, call=changed)
        case ir.If(condition=condition, then=then, otherwise=otherwise, span=span):
            return ir.If(change(condition), then, otherwise, span)
        case ir.Loop(condition=condition, body=body, step=step, span=span):
            return ir.Loop(change(condition), body, step, span)
        case ir.Trap(condition=condition):
            return replace(statement, condition=change(condition))
        case ir.Return(value=value) | ir.Print(value=value):
            return replace(statement, value=None if value is None else change(value))
        case ir.DsdStatement():
            return _with_dsd_roots(statement, change)
        case ir.LoadDsr(dsr=dsr, dsd=dsd, span=span, saves_address=saves):
            return ir.LoadDsr(dsr, change(dsd), span, saves)
        case ir.Map(inputs=inputs, output=output):
            streams = tuple(replace(stream, dsd=change(stream.dsd)) for stream in inputs)
            last = None if output is None else replace(output, dsd=change(output.dsd))
            return replace(statement, inputs=streams, output=last)
        case ir.Timestamp(address=address):
            return replace(statement, address=change(address))
        case ir.SetFifoLength(length=length):
            return replace(statement, length=change(length))
        case (
            ir.Break()
            | ir.Continue()
            | ir.Labelled()
            | ir.Activate()
            | ir.SetBlocked()
            | ir.UnblockCommandStream()
            | ir.TimestampControl()
        ):
            return replace(statement)
    assert_never(statement)


def with_blocks(statement: ir.Statement, change: Callable[[Block], Block]) -> ir.Statement:
    """Return a copy of a statement with its blocks changed, those of `walk.blocks`.

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
        case ir.Labelled(span=span), [body]:
            return ir.Labelled(body, span)
        case _:
            return statement


def with_local(statement: ir.Statement, change: Callable[[ir.Local], ir.Local]) -> ir.Statement:
    """Return a copy of a statement that sets other locals."""
    match statement:
        case ir.SetLocal(local=local, value=value, span=span):
            return ir.SetLocal(change(local), value, span)
        case ir.DsdStatement(result=ir.Local() as result):
            return replace(statement, result=change(result))
        case ir.Map(inputs=inputs, output=output):
            streams = tuple(replace(stream, local=change(stream.local)) for stream in inputs)
            last = None if output is None else replace(output, local=change(output.local))
            return replace(statement, inputs=streams, output=last)
        case _:
            return statement


def _with_dsd_roots(statement: ir.DsdStatement, change: Change) -> ir.DsdStatement:
    dest, src0, src1 = (
        None if operand is None else _with_operand(operand, change)
        for operand in (statement.dest, statement.src0, statement.src1)
    )
    scalar = None if statement.scalar is None else change(statement.scalar)
    return replace(statement, dest=dest, src0=src0, src1=src1, scalar=scalar)


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
