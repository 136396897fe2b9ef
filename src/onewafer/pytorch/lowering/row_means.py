"""Means over rows: of the pixels of a feature map, of the tokens of a sequence."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from onewafer.graph import Add, GlobalAveragePool, Scale, Tensor
from onewafer.pytorch.lowering.layout import Layout
from onewafer.pytorch.lowering.operands import Value, see

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.pytorch.lowering.operands import Operand
    from onewafer.pytorch.lowering.registry import Call
    from onewafer.pytorch.lowering.writer import GraphWriter


def reduces_rows(writer: GraphWriter, operand: Operand, dimensions: Sequence[int]) -> bool:
    """Tell whether dimensions of a value are those of rows, not of features, or of size 1."""
    value = writer.value(operand)
    return bool(dimensions) and all(
        value.shape[index] == 1 or is_of_rows(value, index) for index in dimensions
    )


def is_of_rows(value: Value, dimension: int) -> bool:
    """Tell whether a dimension goes over more than one row, and over whole rows."""
    pieces = value.layout.dimensions[dimension]
    num_features = value.tensor.shape[1]
    return bool(pieces) and all(stride % num_features == 0 for _, stride in pieces)


def _with_first_row(value: Value, reduced: Sequence[int]) -> Value | None:
    """Return a value with the first row of each sample, if it is all that a value lacks of them."""
    num_rows, num_features = value.tensor.shape
    if len(reduced) != 1 or value.layout.offset != num_features:
        return None
    (dimension,) = reduced
    dimensions = list(value.layout.dimensions)
    if dimensions[dimension] != ((value.shape[dimension], num_features),):
        return None
    dimensions[dimension] = ((value.shape[dimension] + 1, num_features),)
    whole = replace(value, layout=Layout(tuple(dimensions)))
    is_whole = math.prod(whole.shape) == num_rows * num_features
    return whole if is_whole else None


def _subtract_share(writer: GraphWriter, mean: Tensor, row: Tensor, count: int) -> Tensor:
    """Return the mean of all rows but one, given that of `count` rows and the one."""
    scaled, share, result = (
        writer.result(f"{mean.name}_{what}", *mean.shape)
        for what in ("scaled", "share", "of_the_others")
    )
    writer.emit(Scale(scaled, mean.name, count / (count - 1)))
    writer.emit(Scale(share, row.name, -1 / (count - 1)))
    writer.emit(Add(result, scaled.name, share.name))
    return result


def mean_of_rows(writer: GraphWriter, call: Call, dimensions: Sequence[int]) -> Operand:
    """Write the mean of a value over dimensions that are all rows of each sample.

    The first row of each may be left out: then its share is subtracted from the mean of all.
    """
    value = writer.value(call.operand(0))
    if math.prod(value.shape[index] for index in dimensions) == 1:
        same = value.layout.reshape(call.shape)
        assert same is not None, "dimensions of size 1 cut nothing"  # invariant
        return replace(value, layout=same)
    rank = len(value.shape)
    reduced = sorted(dimension % rank for dimension in dimensions)
    whole = _with_first_row(value, reduced)
    value, skips_first = (value, False) if whole is None else (whole, True)
    kept = [index for index in range(rank) if index not in reduced]
    samples = [index for index in kept if is_of_rows(value, index)]
    features = [index for index in kept if index not in samples]
    tensor = writer.matrix(value, samples + reduced, features)
    num_samples = math.prod(value.shape[index] for index in samples)
    writer.note_samples(num_samples)
    result = writer.result(call.node.name, num_samples, tensor.shape[1])
    num_rows = tensor.shape[0] // num_samples
    writer.emit(GlobalAveragePool(result, tensor.name, num_rows))
    if skips_first:
        first = replace(value, layout=value.layout.select(reduced[0], 0))
        kept_now = [index - (index > reduced[0]) for index in samples + features]
        split = len(samples)
        row = writer.matrix(first, kept_now[:split], kept_now[split:])
        result = _subtract_share(writer, result, row, num_rows)
    order = samples + features
    seen = see(result, [value.shape[index] for index in order])
    layout = seen.layout.permute([order.index(index) for index in kept])
    found = layout.reshape(call.shape)  # which may keep the dimensions with a size of 1
    assert found is not None, "dimensions of size 1 cut nothing"  # invariant
    return Value(result, found)
