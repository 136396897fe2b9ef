"""Direct variables: code accesses them only by name, so that no pointer aliases them.

In: an instance. Out: the variables whose address does not escape: not into a value, a FIFO, the
data of another variable, or the host. The host may be left out: it accesses memory while no code of
the PE runs, so known values stay valid until a function returns or waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl import ir
from onewafer.csl.ir import walk

if TYPE_CHECKING:
    from collections.abc import Iterator


def find_direct(
    instance: ir.InstanceIr, *, with_stores: bool = True, with_host: bool = True
) -> frozenset[ir.Global]:
    """Return the variables that are read and, with `with_stores`, written by name only.

    With `with_host=False`, accesses of the host do not count, neither direct ones nor ones through
    a pointer that code never names.
    """
    statements = (s for f in instance.functions for s in walk.statements(f.body))
    escaping = {a.variable for s in statements for a in _given(s, with_stores=with_stores)}
    escaping |= {fifo.variable for fifo in instance.fifos}
    escaping |= {a.variable for load in instance.loads for a in _escaping(load.dsd)}
    if with_host:
        escaping |= {variable for variable in instance.globals if variable.is_exported}
        exported = (export.target for export in instance.exports)
        escaping |= {target.variable for target in exported if isinstance(target, ir.AddressOf)}
    named = set(instance.globals) if with_host else _named(instance)
    for variable in named:
        for datum in variable.data:
            match datum:
                case ir.AddressDatum(target=target):
                    escaping.add(target.variable)
                case ir.DsdDatum(dsd=dsd):
                    escaping |= {address.variable for address in _escaping(dsd)}
                case ir.Datum():
                    pass
    return frozenset(variable for variable in instance.globals if variable not in escaping)


def _named(instance: ir.InstanceIr) -> set[ir.Global]:
    """Return the variables that code can reach: by name, or through addresses in initial data."""
    roots = (r for f in instance.functions for s in walk.statements(f.body) for r in walk.roots(s))
    dsds = (load.dsd for load in instance.loads)
    nodes = (node for root in (*roots, *dsds) for node in walk.expressions(root))
    waiting = [node.variable for node in nodes if isinstance(node, ir.AddressOf)]
    waiting += [fifo.variable for fifo in instance.fifos]
    found: set[ir.Global] = set()
    while waiting:
        variable = waiting.pop()
        if variable in found:
            continue
        found.add(variable)
        for datum in variable.data:
            match datum:
                case ir.AddressDatum(target=target):
                    waiting.append(target.variable)
                case ir.DsdDatum(dsd=dsd):
                    nodes = walk.expressions(dsd)
                    waiting += [node.variable for node in nodes if isinstance(node, ir.AddressOf)]
                case ir.Datum():
                    pass
    return found


def _given(statement: ir.Statement, *, with_stores: bool) -> Iterator[ir.AddressOf]:
    """Yield the addresses that escape from a statement: all but addresses of loads and stores."""
    match statement:
        case ir.Store(address=ir.AddressOf(), value=value) if with_stores:
            yield from _escaping(value)
        case _:
            for root in walk.roots(statement):
                yield from _escaping(root)


def _escaping(expression: ir.Expression) -> Iterator[ir.AddressOf]:
    """Yield the addresses that escape from an expression: all but addresses of loads."""
    match expression:
        case ir.Load(address=ir.AddressOf()):
            return
        case ir.AddressOf():
            yield expression
        case _:
            for operand in walk.operands(expression):
                yield from _escaping(operand)
