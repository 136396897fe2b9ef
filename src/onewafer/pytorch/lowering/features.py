"""One number per feature: learned factors and shifts, gates of whole maps, means over rows."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from onewafer.graph import (
    Add,
    AddBias,
    GlobalAveragePool,
    Scale,
    ScaleFeatureMaps,
    ScaleFeatures,
    Tensor,
)
from onewafer.pytorch.lowering.layout import Layout
from onewafer.pytorch.lowering.operands import External, Origin, Value, see_in_order
from onewafer.pytorch.lowering.registry import lowers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.pytorch.lowering.operands import Operand
    from onewafer.pytorch.lowering.registry import Call
    from onewafer.pytorch.lowering.writer import GraphWriter

_aten = torch.ops.aten


def apply_to_features(
    writer: GraphWriter,
    call: Call,
    form: type[AddBias | ScaleFeatures],
    operand: Operand,
    stored: Operand,
) -> Value | None:
    """Write a sum or product with one learned number per feature; None if it is something else."""
    found = _find_vector(writer, call, operand, stored)
    if found is None:
        return None
    source, vector = found
    result = writer.result(call.node.name, *source.tensor.shape)
    writer.emit(form(result, source.tensor.name, vector.name))
    return Value(result, source.layout)


def _find_vector(
    writer: GraphWriter, call: Call, operand: Operand, stored: Operand
) -> tuple[Value, Tensor] | None:
    """Return a value as a whole matrix, and a parameter as a vector over its features, or None.

    Other stored tensors are refused: a table over one position has the same shape.
    """
    if not isinstance(stored, External) or stored.origin is not Origin.PARAMETER:
        return None
    if not isinstance(operand, Value) or operand.is_wide:
        return None
    if operand.shape != call.shape:
        return None
    source = writer.own(operand)
    num_features = source.tensor.shape[1]
    shape = (1,) * (len(call.shape) - len(stored.shape)) + stored.shape
    varying = [index for index, size in enumerate(shape) if size > 1]
    if len(varying) != 1 or source.layout.dimensions[varying[0]] != ((num_features, 1),):
        return None
    if stored.shape != (num_features,):
        name = f"{stored.name}__vector"
        stored = writer.view(stored, name, _aten.reshape.default, [num_features])
    return source, writer.parameter(stored, "vector")


@lowers("addcmul.default")
def _lower_scaled_sum(writer: GraphWriter, call: Call) -> Operand:
    """Write `shift + value · factors · operand`; shift and factors have one number per feature."""
    factor, first, second = (call.operand(index) for index in (0, 1, 2))
    stored, operand = (first, second) if isinstance(first, External) else (second, first)
    if call.constant(3, "value", 1) != 1:
        raise call.unsupported("a value other than 1 is not supported")
    if isinstance(operand, External):
        operand = writer.value(operand)
    scaled = apply_to_features(writer, call, ScaleFeatures, operand, stored)
    shifted = scaled and apply_to_features(writer, call, AddBias, scaled, factor)
    if shifted is None:
        raise call.unsupported("scale and shift must be parameters with one number a feature")
    return shifted


def scale_feature_maps(
    writer: GraphWriter, call: Call, left: Operand, right: Operand
) -> Value | None:
    """Write maps times one computed factor per sample and feature; None: it is something else."""
    if isinstance(left, External) or isinstance(right, External):
        return None
    first, second = writer.value(left), writer.value(right)
    maps, gate = (first, second) if first.shape == call.shape else (second, first)
    if maps.shape != call.shape or len(gate.shape) != len(maps.shape):
        return None
    if maps.is_wide or gate.is_wide:
        return None
    rank = len(maps.shape)
    places = [index for index in range(rank) if gate.shape[index] != maps.shape[index]]
    if not places or any(gate.shape[index] != 1 for index in places):
        return None
    kept = [index for index in range(rank) if index not in places]
    samples = [index for index in kept if is_of_rows(maps, index)]
    features = [index for index in kept if index not in samples]
    rows = writer.matrix(maps, samples + places, features)
    factors = writer.matrix(gate, samples, features)
    num_samples = factors.shape[0]
    writer.note_samples(num_samples)
    result = writer.result(call.node.name, *rows.shape)
    size = rows.shape[0] // num_samples
    writer.emit(ScaleFeatureMaps(result, rows.name, factors.name, size))
    return see_in_order(result, maps.shape, samples + places + features)


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
    """Return a value with the first row of each sample put back; None: it lacks more or nothing."""
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
    """Return the mean of all rows but one, given the mean of all `count` rows and the one row."""
    scaled, share, result = (
        writer.result(f"{mean.name}_{what}", *mean.shape)
        for what in ("scaled", "share", "of_the_others")
    )
    writer.emit(Scale(scaled, mean.name, count / (count - 1)))
    writer.emit(Scale(share, row.name, -1 / (count - 1)))
    writer.emit(Add(result, scaled.name, share.name))
    return result


def mean_of_rows(writer: GraphWriter, call: Call, dimensions: Sequence[int]) -> Operand:
    """Write the mean over all rows of each sample, given the dimensions that are rows.

    If the value leaves out the first row, its share is subtracted from the mean of all rows.
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
    order = [kept.index(index) for index in samples + features]
    seen = see_in_order(result, [value.shape[index] for index in kept], order)
    found = seen.layout.reshape(call.shape)  # which may keep the dimensions with a size of 1
    assert found is not None, "dimensions of size 1 cut nothing"  # invariant
    return Value(result, found)
