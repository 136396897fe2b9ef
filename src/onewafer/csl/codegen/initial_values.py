"""The initial values of variables.

A load of a variable that nothing writes yields its initial value. A typical case is a DSD that is
declared with `var` and never changed.
"""

from __future__ import annotations

from onewafer.csl import ir
from onewafer.image import ScalarType


def initial_value(variable: ir.Global, type_: ir.ValueType, offset: int) -> ir.Expression | None:
    """Return the initial value at an offset; None if no single value of `type_` is there."""
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
