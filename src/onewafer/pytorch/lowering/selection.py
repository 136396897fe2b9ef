"""The largest elements along a dimension: where they are."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from onewafer.graph import DataType, TopIndices
from onewafer.pytorch.lowering.operands import Value, see
from onewafer.pytorch.lowering.registry import lowers

if TYPE_CHECKING:
    from onewafer.graph import Tensor
    from onewafer.pytorch.lowering.operands import Operand
    from onewafer.pytorch.lowering.registry import Call
    from onewafer.pytorch.lowering.writer import GraphWriter


@lowers("argmax.default")
def _lower_argmax(writer: GraphWriter, call: Call) -> Operand:
    shape = writer.value(call.operand(0)).shape
    dimension = cast("int | None", call.constant(1, "dim", None))
    if dimension is None:
        if math.prod(shape) != shape[-1]:
            raise call.unsupported("it looks for one element of all rows; name a dimension")
        dimension = -1
    indices = _find_largest(writer, call, dimension, 1)
    same = indices.layout.reshape(call.shape)  # which may keep the dimension with a size of 1
    assert same is not None, "dimensions of size 1 cut nothing"  # invariant
    return replace(indices, layout=same)


def _find_largest(writer: GraphWriter, call: Call, dimension: int, count: int) -> Value:
    """Write a search; the dimension has the indices of the elements, the largest first."""
    value = writer.value(call.operand(0))
    rank = len(value.shape)
    dimension %= rank
    rows = [index for index in range(rank) if index != dimension]
    # What is stored as float16 has the same order in float32.
    tensor = writer.matrix(replace(value, is_wide=False), rows, [dimension])
    result = replace(writer.result(call.node.name, tensor.shape[0], count), dtype=DataType.I32)
    writer.emit(TopIndices(result, tensor.name, count))
    return _see_along(result, value.shape, dimension)


def _see_along(matrix: Tensor, shape: tuple[int, ...], dimension: int) -> Value:
    """See a matrix whose rows go over all dimensions of a shape but one, which its features are."""
    rank = len(shape)
    order = [*(index for index in range(rank) if index != dimension), dimension]
    seen = see(matrix, [*(shape[index] for index in order[:-1]), matrix.shape[1]])
    return replace(seen, layout=seen.layout.permute([order.index(i) for i in range(rank)]))
