"""Escape analysis: variables of a function whose addresses may outlive the function.

In: the body of a function. Out: one of its variables, or none. A variable lies in memory if it is
an array or a struct, or if its address is taken. Nothing escapes by being loaded, stored or an
operand of a synchronous operation; a call, memory, a DSR or a microthread may keep an address.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onewafer.csl import ir
from onewafer.csl.ir import walk
from onewafer.image import Opcode

if TYPE_CHECKING:
    from collections.abc import Iterator

_COMPARISONS = range(Opcode.EQUAL, Opcode.LESS_EQUAL + 1)


def find_escape(function: ir.Function) -> ir.Global | None:
    """Return a variable of the function whose address it may have given away."""
    addresses = _Addresses()
    inside = tuple(walk.statements(function.body))
    while any(addresses.note(s) for s in inside):
        pass
    return next((v for s in inside for v in map(addresses.of, _given(s)) if v is not None), None)


@dataclass(frozen=True, slots=True)
class _Addresses:
    """The possible targets of pointer values."""

    held: dict[ir.Local, ir.Global] = field(default_factory=dict["ir.Local", ir.Global])

    def note(self, statement: ir.Statement) -> bool:
        """Add the addresses that a statement assigns to a local; tell whether one is new."""
        match statement:
            case ir.SetLocal(local=local, value=value) if local not in self.held:
                variable = self.of(value)
                if variable is not None:
                    self.held[local] = variable
                return variable is not None
            case _:
                return False

    def of(self, value: ir.Expression) -> ir.Global | None:
        """Return the variable of a function that an address or a DSD may point to."""
        match value:
            case ir.AddressOf(variable=variable):
                return variable if variable.is_local else None
            case ir.ReadLocal(local=local):
                return self.held.get(local)
            case ir.Load() | ir.Call():  # an address in memory, or one that is returned, escaped
                return None
            case ir.Binary(opcode=opcode) if opcode in _COMPARISONS:
                return None
            case _:
                parts = map(self.of, walk.operands(value))
                return next((variable for variable in parts if variable is not None), None)


def _given(statement: ir.Statement) -> Iterator[ir.Expression]:
    """Yield the values that escape through a statement."""
    for root in walk.roots(statement):
        for node in walk.expressions(root):
            if isinstance(node, ir.Call):
                yield from node.arguments
    match statement:
        case ir.Store(value=value):
            yield value
        case ir.Return(value=value) if value is not None:
            yield value
        case ir.DsdStatement(config=config) if config is not None:
            yield from walk.roots(statement)
        case ir.LoadDsr(dsd=dsd):
            yield dsd
        case _:
            pass
