"""Estimates of the code size of statements before codegen, in units of about 4 bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onewafer.csl import ir
from onewafer.csl.ir import walk

if TYPE_CHECKING:
    from onewafer.csl.ir.walk import Block

_UNITS: Final[dict[type, int]] = {
    ir.ReadLocal: 0,
    ir.AddressOf: 0,
    ir.MakeDsd: 4,
    ir.DsdStatement: 2,
    ir.Loop: 2,
    ir.Labelled: 0,
}
"""Nodes that take several instructions: a DSD is two words, and a loop jumps back."""
_UNITS_OF_REGISTER: Final = 2
"""The load of a data structure register."""


def units_of(block: Block) -> int:
    """Return the code size of a block, without its callees."""
    return sum(map(_units_of_statement, walk.statements(block)))


def units_of_rounds(body: Block, num_rounds: int) -> int:
    """Return the code size of an unrolled loop, whose constant descriptors are loaded once."""
    operations = [s for s in walk.statements(body) if isinstance(s, ir.DsdStatement)]
    loaded = [v.dsd for s in operations for v in walk.vectors(s) if _is_constant(v.dsd)]
    kept = sum(map(_units_of_operand, loaded))
    once = sum(map(_units_of_operand, dict.fromkeys(loaded)))
    return (units_of(body) - kept) * num_rounds + once


def _is_constant(dsd: ir.Expression) -> bool:
    constants = (ir.MakeDsd, ir.AddressOf, ir.Immediate)
    return all(isinstance(node, constants) for node in walk.expressions(dsd))


def _units_of_operand(dsd: ir.Expression) -> int:
    return _UNITS_OF_REGISTER + sum(_UNITS.get(type(n), 1) for n in walk.expressions(dsd))


def _units_of_statement(statement: ir.Statement) -> int:
    nodes = (node for root in walk.roots(statement) for node in walk.expressions(root))
    units = _UNITS.get(type(statement), 1) + sum(_UNITS.get(type(node), 1) for node in nodes)
    if isinstance(statement, ir.DsdStatement):
        units += _UNITS_OF_REGISTER * len(walk.vectors(statement))
    return units
