"""Variables that keep their initial values, and these values.

In: an instance. Out: the variables that nothing writes and whose address goes nowhere; a read of
one is its initial value. Typical are DSDs declared with `var` and only used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl import ir, walk
from onewafer.image import ScalarType

if TYPE_CHECKING:
    from collections.abc import Iterator


def find_read_only(instance: ir.InstanceIr) -> frozenset[ir.Global]:
    """Return the variables that are only read, and only directly."""
    escaping = {
        address.variable
        for function in instance.functions
        for statement in walk.statements(function.body)
        for root in walk.roots(statement)
        for address in _escaping(root)
    }
    escaping.update(variable for variable in instance.globals if variable.is_exported)
    escaping.update(fifo.variable for fifo in instance.fifos)
    for load in instance.loads:
        escaping.update(address.variable for address in _escaping(load.dsd))
    for variable in instance.globals:
        for datum in variable.data:
            match datum:
                case ir.AddressDatum(target=target):
                    escaping.add(target.variable)
                case ir.DsdDatum(dsd=dsd):
                    escaping.update(address.variable for address in _escaping(dsd))
                case ir.Datum():
                    pass
    for export in instance.exports:
        if isinstance(export.target, ir.AddressOf):
            escaping.add(export.target.variable)
    return frozenset(variable for variable in instance.globals if variable not in escaping)


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


def initial_value(variable: ir.Global, type_: ir.ValueType, offset: int) -> ir.Expression | None:
    """Return the initial value at an offset; None if it is not simply one of `type_`."""
    for datum in variable.data:
        match datum:
            case ir.DsdDatum(offset=start, dsd=dsd) if start == offset and type_ is ir.DSD:
                return dsd
            case ir.AddressDatum(offset=start, target=target) if (
                start == offset and type_ is ScalarType.U16
            ):
                return target
            case ir.Datum(offset=start, element=element, word=word, per_pe=per_pe) if (
                start == offset and type_ is element
            ):
                return ir.Immediate(element, word, per_pe)
            case _:
                pass
    return None
