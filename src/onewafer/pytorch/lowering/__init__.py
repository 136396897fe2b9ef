"""ATen operations as operations of `graph`, one function an operation.

In: the calls of an exported graph, in order. Out: a `GraphWriter` with the operations. The
host computes tensors that do not depend on input data (positions, masks, transposed weights), now
and again for each call; views are layouts; everything else is an operation of the graph or a form,
a part of a pattern that ends in one (see `operands`).

A new operation is one function with the names it serves, in the file of its family.
"""

# pyright: reportUnusedImport=false

from onewafer.pytorch.lowering import (  # noqa: F401  # they register what they lower and write
    batch_norms,
    convolution,
    counted,
    dropout,
    elementwise,
    embedding,
    features,
    linear,
    losses,
    map_margins,
    map_norms,
    normalisation,
    pools,
    positions,
    products,
    random_numbers,
    rectifiers,
    rotary,
    selection,
    softmax,
    views,
)
from onewafer.pytorch.lowering.drawn import DRAWN, Drawn, DropoutFactors, RandomInput
from onewafer.pytorch.lowering.dropout import take_dropout_out_of_place
from onewafer.pytorch.lowering.finishing import finish
from onewafer.pytorch.lowering.layout import Layout
from onewafer.pytorch.lowering.opaque import write_opaque
from onewafer.pytorch.lowering.operands import Decision, External, Origin, Running, Value
from onewafer.pytorch.lowering.registry import Operands, find_unknown, lower, value_of
from onewafer.pytorch.lowering.writer import FORMATS, INDICES, NOTHING, GraphWriter

__all__ = [
    "DRAWN",
    "FORMATS",
    "INDICES",
    "NOTHING",
    "Decision",
    "Drawn",
    "DropoutFactors",
    "External",
    "GraphWriter",
    "Layout",
    "Operands",
    "Origin",
    "RandomInput",
    "Running",
    "Value",
    "find_unknown",
    "finish",
    "lower",
    "take_dropout_out_of_place",
    "value_of",
    "write_opaque",
]
