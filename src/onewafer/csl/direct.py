"""Variables that the code of a PE names wherever it reads or writes them.

In: an instance. Out: the variables whose address goes nowhere, and which no host, no FIFO and no
data of another variable know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl import ir, walk

if TYPE_CHECKING:
    from collections.abc import Iterator


def find_direct(instance: ir.InstanceIr, *, with_stores: bool = True) -> frozenset[ir.Global]:
    """Return the variables that are only read, and with `with_stores` written, by their name."""
    statements = (s for f in instance.functions for s in walk.statements(f.body))
    escaping = {a.variable for s in statements for a in _given(s, with_stores=with_stores)}
    escaping |= {variable for variable in instance.globals if variable.is_exported}
    escaping |= {fifo.variable for fifo in instance.fifos}
    escaping |= {a.variable for load in instance.loads for a in _escaping(load.dsd)}
    for variable in instance.globals:
        for datum in variable.data:
            match datum:
                case ir.AddressDatum(target=target):
                    escaping.add(target.variable)
                case ir.DsdDatum(dsd=dsd):
                    escaping |= {address.variable for address in _escaping(dsd)}
                case ir.Datum():
                    pass
    exported = (export.target for export in instance.exports)
    escaping |= {target.variable for target in exported if isinstance(target, ir.AddressOf)}
    return frozenset(variable for variable in instance.globals if variable not in escaping)


def _given(statement: ir.Statement, *, with_stores: bool) -> Iterator[ir.AddressOf]:
    """Yield the addresses that a statement does more with than to read, or to write, there."""
    match statement:
        case ir.Store(address=ir.AddressOf(), value=value) if with_stores:
            yield from _escaping(value)
        case _:
            for root in walk.roots(statement):
                yield from _escaping(root)


def _escaping(expression: ir.Expression) -> Iterator[ir.AddressOf]:
    """Yield the addresses in an expression that are not just read from."""
    match expression:
        case ir.Load(address=ir.AddressOf()):
            return
        case ir.AddressOf():
            yield expression
        case _:
            for operand in walk.operands(expression):
                yield from _escaping(operand)
