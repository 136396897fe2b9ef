"""The largest elements along a dimension: where they are, and what they are."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from onewafer.graph import DataType, Gather, Tensor, TopIndices
from onewafer.pytorch.lowering.operands import see_in_order
from onewafer.pytorch.lowering.registry import lowers

if TYPE_CHECKING:
    import torch

    from onewafer.pytorch.lowering.operands import Operand, Value
    from onewafer.pytorch.lowering.registry import Call
    from onewafer.pytorch.lowering.writer import GraphWriter

MOST_ELEMENTS = 64
"""The most elements of a row that the wafer finds, with one pass over the row for each."""


@lowers("argmax.default")
def _lower_argmax(writer: GraphWriter, call: Call) -> Operand:
    shape = writer.value(call.operand(0)).shape
    dimension = cast("int | None", call.constant(1, "dim", None))
    if dimension is None:
        if math.prod(shape) != shape[-1]:
            raise call.unsupported(
                "a search over all elements is not supported; name the last dimension"
            )
        dimension = -1
    return _reshape(_find(writer, call, dimension, 1).indices(), call.shape)


@lowers("max.dim")
def _lower_maximum(writer: GraphWriter, call: Call) -> tuple[Operand, ...]:
    found = _find(writer, call, cast("int", call.constant(1, "dim", -1)), 1)
    shape = tuple(cast("tuple[torch.Tensor, ...]", call.node.meta["val"])[0].shape)
    return _reshape(found.elements(writer), shape), _reshape(found.indices(), shape)


@lowers("topk.default")
def _lower_top(writer: GraphWriter, call: Call) -> tuple[Operand, ...]:
    count = cast("int", call.constant(1, "k", 1))
    if not 1 <= count <= MOST_ELEMENTS:
        raise call.unsupported(
            f"k={count} is not supported; the wafer finds 1 to {MOST_ELEMENTS} elements of a row"
        )
    if not call.constant(3, "largest", default=True):
        raise call.unsupported(
            "largest=False is not supported; the wafer finds the largest elements"
        )
    found = _find(writer, call, cast("int", call.constant(2, "dim", -1)), count)
    return found.elements(writer), found.indices()


@dataclass(frozen=True, slots=True)
class _Found:
    """The largest elements of a value along a dimension."""

    value: Value
    dimension: int
    rows: Tensor
    """The value as a matrix whose features go along the dimension."""
    result: Tensor
    """Indices of its features, the largest first."""

    def indices(self) -> Value:
        """Return the indices along the dimension."""
        return self._see(self.result)

    def elements(self, writer: GraphWriter) -> Value:
        """Write the gather of the elements, which the graph drops if nothing reads it."""
        taken = writer.result(f"{self.result.name}_elements", *self.result.shape)
        writer.emit(Gather(taken, self.rows.name, self.result.name))
        return replace(self._see(taken), is_wide=self.value.is_wide)

    def _see(self, matrix: Tensor) -> Value:
        """Return a matrix seen in the shape of the value; its features go along the dimension."""
        shape = [*self.value.shape]
        shape[self.dimension] = matrix.shape[1]
        order = [*_without(self.dimension, len(shape)), self.dimension]
        return see_in_order(matrix, shape, order)


def _find(writer: GraphWriter, call: Call, dimension: int, count: int) -> _Found:
    """Write a search along a dimension."""
    value = writer.value(call.operand(0))
    dimension %= len(value.shape)
    # What is stored as float16 has the same order in float32.
    narrow = replace(value, is_wide=False)
    rows = writer.matrix(narrow, _without(dimension, len(value.shape)), [dimension])
    result = replace(writer.result(call.node.name, rows.shape[0], count), dtype=DataType.I32)
    writer.emit(TopIndices(result, rows.name, count))
    return _Found(value, dimension, rows, result)


def _without(dimension: int, rank: int) -> list[int]:
    return [index for index in range(rank) if index != dimension]


def _reshape(value: Value, shape: tuple[int, ...]) -> Value:
    """Return a value with or without its dimensions of size 1."""
    same = value.layout.reshape(shape)
    assert same is not None, "dimensions of size 1 cut nothing"  # invariant
    return replace(value, layout=same)
