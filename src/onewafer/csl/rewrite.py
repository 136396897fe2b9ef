"""Copies of IR trees with other parts: the children of each node, put in anew.

The counterpart of `walk`. A copied statement is a new one, and so is each of its blocks.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, assert_never

from onewafer.csl import ir

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.csl.walk import Block

    Change = Callable[[ir.Expression], ir.Expression]


def with_operands(expression: ir.Expression, change: Change) -> ir.Expression:
    """Return an expression with its direct subexpressions changed, from left to right."""
    match expression:
        case ir.Immediate() | ir.ReadLocal() | ir.AddressOf() | ir.Coordinate():
            return expression
        case ir.Load(address=address):
            return replace(expression, address=change(address))
        case ir.Unary(operand=operand) | ir.Convert(operand=operand):
            return replace(expression, operand=change(operand))
        case ir.Binary(left=left, right=right):
            return replace(expression, left=change(left), right=change(right))
        case ir.Select(condition=condition, then=then, otherwise=otherwise):
            return replace(
                expression,
                condition=change(condition),
                then=change(then),
                otherwise=change(otherwise),
            )
        case ir.Call(arguments=arguments):
            return replace(expression, arguments=tuple(map(change, arguments)))
        case ir.MakeDsd(base=base, extent=extent, stride=stride):
            return replace(
                expression, base=change(base), extent=change(extent), stride=change(stride)
            )
        case ir.UpdateDsd(dsd=dsd, value=value):
            return replace(expression, dsd=change(dsd), value=change(value))
    assert_never(expression)


def with_roots(statement: ir.Statement, change: Change) -> ir.Statement:
    """Return a copy of a statement with the expressions that it evaluates itself changed.

    They are those of `walk.roots`, in that order; its blocks stay.
    """
    match statement:
        case ir.SetLocal(value=value):
            return replace(statement, value=change(value))
        case ir.Store(address=address, value=value):
            return replace(statement, address=change(address), value=change(value))
        case ir.Evaluate(call=call):
            changed = change(call)
            if not isinstance(changed, ir.Call):
                raise TypeError("only a call is evaluated for its effect")
            return replace(statement, call=changed)
        case ir.If(condition=condition) | ir.Loop(condition=condition):
            return replace(statement, condition=change(condition))
        case ir.Trap(condition=condition):
            return replace(statement, condition=change(condition))
        case ir.Return(value=value) | ir.Print(value=value):
            return replace(statement, value=None if value is None else change(value))
        case ir.DsdStatement():
            return _with_dsd_roots(statement, change)
        case ir.LoadDsr(dsd=dsd):
            return replace(statement, dsd=change(dsd))
        case ir.Map(inputs=inputs, output=output):
            streams = tuple(replace(stream, dsd=change(stream.dsd)) for stream in inputs)
            last = None if output is None else replace(output, dsd=change(output.dsd))
            return replace(statement, inputs=streams, output=last)
        case ir.Timestamp(address=address):
            return replace(statement, address=change(address))
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
    """Return a copy of a statement with its blocks changed, those of `walk.blocks`."""
    match statement:
        case ir.If(then=then, otherwise=otherwise):
            return replace(statement, then=change(then), otherwise=change(otherwise))
        case ir.Loop(body=body, step=step):
            return replace(statement, body=change(body), step=change(step))
        case ir.Map(body=body) | ir.Labelled(body=body):
            return replace(statement, body=change(body))
        case _:
            return statement


def with_local(statement: ir.Statement, change: Callable[[ir.Local], ir.Local]) -> ir.Statement:
    """Return a copy of a statement that sets other locals."""
    match statement:
        case ir.SetLocal(local=local):
            return replace(statement, local=change(local))
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
            return replace(operand, value=change(value))
        case ir.ScalarDestination(address=address):
            return replace(operand, address=change(address))
        case ir.Vector(dsd=dsd):
            return replace(operand, dsd=change(dsd))
    assert_never(operand)
