"""Walks over IR trees: the children of each node, written once."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from onewafer.csl import ir

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Block = tuple[ir.Statement, ...]
EXITS: Final = (ir.Return, ir.Break, ir.Continue, ir.TailCall)
"""Statements after which the next one is not reached."""


def operands(expression: ir.Expression) -> tuple[ir.Expression, ...]:
    """Return the direct subexpressions."""
    return _OPERANDS[type(expression)](expression)


def expressions(expression: ir.Expression) -> Iterator[ir.Expression]:
    """Yield the expression and all below it, from left to right."""
    waiting = [expression]
    while waiting:
        node = waiting.pop()
        yield node
        if type(node) not in _LEAVES:
            waiting.extend(reversed(operands(node)))


def has_effect(expression: ir.Expression) -> bool:
    """Tell whether evaluating the expression does something: run a function, read a register."""
    waiting = [expression]
    while waiting:
        node = waiting.pop()
        kind = type(node)
        if kind is ir.Call or (isinstance(node, ir.Load) and node.is_volatile):
            return True
        if kind not in _LEAVES:
            waiting += _OPERANDS[kind](node)
    return False


def locals_read(*roots: ir.Expression) -> list[ir.Local]:
    """Return the locals that expressions read, from left to right, as often as they read them."""
    found: list[ir.Local] = []
    waiting: list[ir.Expression] = [*reversed(roots)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ir.ReadLocal):
            found.append(node.local)
        elif type(node) not in _LEAVES:
            waiting += reversed(_OPERANDS[type(node)](node))
    return found


def _readers(inside: Iterable[ir.Statement]) -> dict[ir.Local, list[ir.Statement]]:
    """Return local → the statements that read it directly, repeated for each read.

    One loop over all expressions: passes ask this of every function.
    """
    found: defaultdict[ir.Local, list[ir.Statement]] = defaultdict(list)
    for statement in inside:
        waiting = [*_ROOTS[type(statement)](statement)]
        while waiting:
            node = waiting.pop()
            kind = type(node)
            if isinstance(node, ir.ReadLocal):
                found[node.local].append(statement)
            elif kind not in _LEAVES:
                waiting += _OPERANDS[kind](node)
    return dict(found)


def depends_on_memory(expression: ir.Expression) -> bool:
    """Tell whether another function may change the value of the expression."""
    return any(isinstance(node, ir.Call | ir.Load) for node in expressions(expression))


def commute(first: ir.Expression, second: ir.Expression) -> bool:
    """Tell whether two expressions may be evaluated in either order."""
    return not (
        (has_effect(first) and depends_on_memory(second))
        or (has_effect(second) and depends_on_memory(first))
    )


def locals_set(statement: ir.Statement) -> tuple[ir.Local, ...]:
    """Return the locals to which a statement itself gives values."""
    find = _LOCALS_SET.get(type(statement))
    return () if find is None else find(statement)


def blocks(statement: ir.Statement) -> tuple[Block, ...]:
    """Return the statement lists directly inside a statement."""
    find = _BLOCKS.get(type(statement))
    return () if find is None else find(statement)


def statements(block: Block) -> Iterator[ir.Statement]:
    """Yield every statement of a block, at any depth, in source order."""
    waiting = [*reversed(block)]
    while waiting:
        statement = waiting.pop()
        yield statement
        find = _BLOCKS.get(type(statement))
        if find is not None:
            for inner in reversed(find(statement)):
                waiting += reversed(inner)


def jumps(block: Iterable[ir.Statement]) -> Iterator[tuple[ir.Break | ir.Continue, int]]:
    """Yield the jumps in a block, each with the nesting depth of its target.

    0: the loop or `Labelled` that the block is the body of; 1: the one around that; negative: one
    inside of the block.
    """
    for statement in block:
        match statement:
            case ir.Break(levels=levels) | ir.Continue(levels=levels):
                yield statement, levels
            case _:
                is_level = isinstance(statement, ir.Loop | ir.Labelled | ir.Map)
                for inner in blocks(statement):
                    yield from ((jump, away - is_level) for jump, away in jumps(inner))


@dataclass(frozen=True, slots=True)
class Contents:
    """A block with an index of its statements, shared by successive passes."""

    block: Block
    statements: list[ir.Statement]
    """At any depth, in source order."""
    readers: dict[ir.Local, list[ir.Statement]]
    """Local → the statements that read it directly, repeated for each read."""

    @classmethod
    def of(cls, block: Block) -> Contents:
        """Index a block."""
        inside = [*statements(block)]
        return cls(block, inside, _readers(inside))

    def num_reads(self, local: ir.Local) -> int:
        """Return the number of reads of a local."""
        return len(self.readers.get(local, ()))


def roots(statement: ir.Statement) -> tuple[ir.Expression, ...]:
    """Return the expressions that a statement itself evaluates (not those of its blocks)."""
    return _ROOTS[type(statement)](statement)


def dsd_operands(statement: ir.DsdStatement) -> tuple[ir.DsdOperand, ...]:
    """Return the operands that are present, destination first."""
    operands = (statement.dest, statement.src0, statement.src1)
    return tuple([operand for operand in operands if operand is not None])


def vectors(statement: ir.DsdStatement) -> tuple[ir.Vector, ...]:
    """Return the operands whose register the compiler chooses."""
    return tuple([o for o in dsd_operands(statement) if isinstance(o, ir.Vector)])


def calls(function: ir.Function) -> Iterator[ir.Call]:
    """Yield the calls in a function, in source order."""
    for statement in statements(function.body):
        for root in roots(statement):
            for node in expressions(root):
                if isinstance(node, ir.Call):
                    yield node


def callees(function: ir.Function) -> tuple[ir.Function, ...]:
    """Return the functions that a function calls, each once, in source order."""
    return tuple(dict.fromkeys(call.function for call in calls(function)))


# --- the children of each kind of node -----------------------------------------------------------


def _none(node: object) -> tuple[()]:
    del node
    return ()


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


def _dsd_result(statement: ir.DsdStatement) -> tuple[ir.Local, ...]:
    return () if statement.result is None else (statement.result,)


def _value_root(statement: ir.Return | ir.Print) -> tuple[ir.Expression, ...]:
    return () if statement.value is None else (statement.value,)


# The passes ask for the children of every node several times: a look-up, no ladder of cases.
_OPERANDS: Final[dict[type, Callable[[Any], tuple[ir.Expression, ...]]]] = {
    ir.Immediate: _none,
    ir.Join: attrgetter("low", "high"),
    ir.ReadLocal: _none,
    ir.AddressOf: _none,
    ir.Coordinate: _none,
    ir.Load: lambda node: (node.address,),
    ir.Unary: lambda node: (node.operand,),
    ir.Convert: lambda node: (node.operand,),
    ir.Binary: attrgetter("left", "right"),
    ir.Select: attrgetter("condition", "then", "otherwise"),
    ir.Call: attrgetter("arguments"),
    ir.MakeDsd: attrgetter("base", "extent", "stride"),
    ir.UpdateDsd: attrgetter("dsd", "value"),
}
_LEAVES: Final = frozenset(kind for kind, find in _OPERANDS.items() if find is _none)
_BLOCKS: Final[dict[type, Callable[[Any], tuple[Block, ...]]]] = {
    ir.If: attrgetter("then", "otherwise"),
    ir.Loop: attrgetter("body", "step"),
    ir.Map: lambda statement: (statement.body,),
    ir.Labelled: lambda statement: (statement.body,),
}
_ROOTS: Final[dict[type, Callable[[Any], tuple[ir.Expression, ...]]]] = {
    ir.SetLocal: lambda statement: (statement.value,),
    ir.Store: attrgetter("address", "value"),
    ir.Evaluate: lambda statement: (statement.call,),
    ir.TailCall: lambda statement: (statement.call,),
    ir.If: lambda statement: (statement.condition,),
    ir.Loop: lambda statement: (statement.condition,),
    ir.Trap: lambda statement: (statement.condition,),
    ir.Return: _value_root,
    ir.Print: _value_root,
    ir.DsdStatement: _dsd_roots,
    ir.LoadDsr: lambda statement: (statement.dsd,),
    ir.Map: lambda statement: tuple(stream.dsd for stream in statement.streams),
    ir.Timestamp: lambda statement: (statement.address,),
    ir.SetFifoLength: lambda statement: (statement.length,),
    ir.Break: _none,
    ir.Continue: _none,
    ir.Labelled: _none,
    ir.Activate: _none,
    ir.SetBlocked: _none,
    ir.UnblockCommandStream: _none,
    ir.TimestampControl: _none,
}
_LOCALS_SET: Final[dict[type, Callable[[Any], tuple[ir.Local, ...]]]] = {
    ir.SetLocal: lambda statement: (statement.local,),
    ir.Map: lambda statement: tuple(stream.local for stream in statement.streams),
    ir.DsdStatement: _dsd_result,
}
