"""ATen operations as operations of `graph`, one function an operation.

In: the calls of an exported graph, in order. Out: a `GraphWriter` with the operations. What the
wafer's data do not take part in (positions, masks, transposed weights) the host computes, now and
whenever a call is bound; views are layouts; everything else is an operation of the graph or a form,
a part of a pattern that ends in one (see `operands`).

A new operation is one function with the names it serves, in the file of its family.
"""

from onewafer.pytorch.lowering import (
    convolution as _convolution,
)
from onewafer.pytorch.lowering import (
    counted as _counted,
)
from onewafer.pytorch.lowering import (
    elementwise as _elementwise,
)
from onewafer.pytorch.lowering import (
    embedding as _embedding,
)
from onewafer.pytorch.lowering import (
    features as _features,
)
from onewafer.pytorch.lowering import (
    linear as _linear,
)
from onewafer.pytorch.lowering import (
    normalisation as _normalisation,
)
from onewafer.pytorch.lowering import (
    pools as _pools,
)
from onewafer.pytorch.lowering import (
    rotary as _rotary,
)
from onewafer.pytorch.lowering import (
    selection as _selection,
)
from onewafer.pytorch.lowering import (
    softmax as _softmax,
)
from onewafer.pytorch.lowering import (
    views as _views,
)
from onewafer.pytorch.lowering.layout import Layout
from onewafer.pytorch.lowering.opaque import write_opaque
from onewafer.pytorch.lowering.operands import Decision, External, Operand, Origin, Value
from onewafer.pytorch.lowering.registry import Operands, lower, value_of
from onewafer.pytorch.lowering.writer import FORMATS, INDICES, NOTHING, GraphWriter, to_rows

FAMILIES = (
    _convolution,
    _counted,
    _elementwise,
    _embedding,
    _features,
    _linear,
    _normalisation,
    _pools,
    _rotary,
    _selection,
    _softmax,
    _views,
)
"""Modules that register what they lower when they are imported."""

__all__ = [
    "FAMILIES",
    "FORMATS",
    "INDICES",
    "NOTHING",
    "Decision",
    "External",
    "GraphWriter",
    "Layout",
    "Operand",
    "Operands",
    "Origin",
    "Value",
    "lower",
    "to_rows",
    "value_of",
    "write_opaque",
]
