"""Walks over IR trees: the children of each node, written once."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from onewafer.csl import ir

if TYPE_CHECKING:
    from collections.abc import Iterator

Block = tuple[ir.Statement, ...]


def operands(expression: ir.Expression) -> tuple[ir.Expression, ...]:
    """Return the direct subexpressions."""
    match expression:
        case ir.Immediate() | ir.ReadLocal() | ir.AddressOf() | ir.Coordinate():
            return ()
        case ir.Load(address=address):
            return (address,)
        case ir.Unary(operand=operand) | ir.Convert(operand=operand):
            return (operand,)
        case ir.Binary(left=left, right=right):
            return (left, right)
        case ir.Select(condition=condition, then=then, otherwise=otherwise):
            return (condition, then, otherwise)
        case ir.Call(arguments=arguments):
            return arguments
        case ir.MakeDsd(base=base, extent=extent, stride=stride):
            return (base, extent, stride)
        case ir.UpdateDsd(dsd=dsd, value=value):
            return (dsd, value)
    assert_never(expression)


def expressions(expression: ir.Expression) -> Iterator[ir.Expression]:
    """Yield the expression and all below it, from left to right."""
    waiting = [expression]
    while waiting:
        node = waiting.pop()
        yield node
        if type(node) not in _LEAVES:
            waiting.extend(reversed(operands(node)))


_LEAVES = frozenset({ir.Immediate, ir.ReadLocal, ir.AddressOf, ir.Coordinate})


def has_call(expression: ir.Expression) -> bool:
    """Tell whether evaluating the expression runs another function."""
    return any(isinstance(node, ir.Call) for node in expressions(expression))


def depends_on_memory(expression: ir.Expression) -> bool:
    """Tell whether the value may be another one after some other function has run."""
    return any(isinstance(node, ir.Call | ir.Load) for node in expressions(expression))


def commute(first: ir.Expression, second: ir.Expression) -> bool:
    """Tell whether two expressions have the same values whichever is evaluated first."""
    return not (
        (has_call(first) and depends_on_memory(second))
        or (has_call(second) and depends_on_memory(first))
    )


def blocks(statement: ir.Statement) -> tuple[Block, ...]:
    """Return the statement lists directly inside a statement."""
    match statement:
        case ir.If(then=then, otherwise=otherwise):
            return (then, otherwise)
        case ir.Loop(body=body, step=step):
            return (body, step)
        case ir.Map(body=body) | ir.Labelled(body=body):
            return (body,)
        case _:
            return ()


def statements(block: Block) -> Iterator[ir.Statement]:
    """Yield every statement of a block, at any depth, in source order."""
    for statement in block:
        yield statement
        for inner in blocks(statement):
            yield from statements(inner)


def roots(statement: ir.Statement) -> tuple[ir.Expression, ...]:
    """Return the expressions that a statement itself evaluates (not those of its blocks)."""
    match statement:
        case ir.SetLocal(value=value):
            return (value,)
        case ir.Store(address=address, value=value):
            return (address, value)
        case ir.Evaluate(call=call):
            return (call,)
        case ir.If(condition=condition) | ir.Loop(condition=condition):
            return (condition,)
        case ir.Trap(condition=condition):
            return (condition,)
        case ir.Return(value=value) | ir.Print(value=value):
            return () if value is None else (value,)
        case ir.DsdStatement():
            return _dsd_roots(statement)
        case ir.LoadDsr(dsd=dsd):
            return (dsd,)
        case ir.Map():
            return tuple(stream.dsd for stream in statement.streams)
        case ir.Timestamp(address=address):
            return (address,)
        case (
            ir.Break()
            | ir.Continue()
            | ir.Labelled()
            | ir.Activate()
            | ir.SetBlocked()
            | ir.UnblockCommandStream()
            | ir.TimestampControl()
        ):
            return ()
    assert_never(statement)


def dsd_operands(statement: ir.DsdStatement) -> tuple[ir.DsdOperand, ...]:
    """Return the operands that are present, destination first."""
    return tuple(
        operand
        for operand in (statement.dest, statement.src0, statement.src1)
        if operand is not None
    )


def _dsd_roots(statement: ir.DsdStatement) -> tuple[ir.Expression, ...]:
    found: list[ir.Expression] = []
    for operand in dsd_operands(statement):
        match operand:
            case (
                ir.Scalar(value=value) | ir.ScalarDestination(address=value) | ir.Vector(dsd=value)
            ):
                found.append(value)
            case ir.Dsr():
                pass
    if statement.scalar is not None:
        found.append(statement.scalar)
    return tuple(found)


def callees(function: ir.Function) -> tuple[ir.Function, ...]:
    """Return the functions that a function calls, each once, in source order."""
    found: dict[ir.Function, None] = {}
    for statement in statements(function.body):
        for root in roots(statement):
            for node in expressions(root):
                if isinstance(node, ir.Call):
                    found[node.function] = None
    return tuple(found)
