"""Zeros around feature maps, features of zeros, and feature maps without some of their pixels.

Each is a convolution whose weights are constants: one tap of weight 1 for each feature, with
margins or with a stride; features of zeros come from a product with a matrix of ones and zeros.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch

from onewafer.graph import DepthwiseConvolution, Linear
from onewafer.pytorch.lowering.feature_maps import FeatureMaps, Kernel, read_feature_maps
from onewafer.pytorch.lowering.operands import Value
from onewafer.pytorch.lowering.registry import lowers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.graph import Window
    from onewafer.pytorch.lowering.operands import Operand
    from onewafer.pytorch.lowering.registry import Call
    from onewafer.pytorch.lowering.writer import GraphWriter

_RANK = 4
"""Dimensions of a batch of feature maps: samples, features, height, width."""
_PADDED = 6
"""Numbers of margins of all dimensions but the first."""


@lowers("pad.default", "constant_pad_nd.default")
def _lower_pad(writer: GraphWriter, call: Call) -> Operand:
    """Add margins of zeros to feature maps, and features of zeros."""
    is_plain = call.name == "aten.constant_pad_nd.default"
    mode = "constant" if is_plain else call.constant(2, "mode", "constant")
    number = call.constant(2 if is_plain else 3, "value", None) or 0
    margins = [*cast("Sequence[int]", call.node.args[1])]
    if not any(margins):
        return call.operand(0)
    if mode != "constant" or number:
        raise call.unsupported("padding with anything but zeros is not supported")
    if len(call.shape) != _RANK or len(margins) > _PADDED or min(margins, default=0) < 0:
        raise call.unsupported(
            "padding is supported of feature maps (samples, features, height, width), around the "
            "pixels and beside the features"
        )
    left, right, top, bottom, before, behind = (*margins, *[0] * (_PADDED - len(margins)))
    maps = read_feature_maps(writer, call, 2)
    if left or right or top or bottom:
        sides = call.shape[-2:]
        window = Kernel((1, 1), (1, 1), (top, left), (1, 1)).over(maps.sides, sides)
        maps = _take_pixels(writer, f"{call.node.name}__margins", maps, window)
    if before or behind:
        maps = _add_features(writer, call.node.name, maps, before, behind)
    return maps.see(maps.tensor, maps.sides)


def thin_maps(
    writer: GraphWriter, call: Call, dimension: int, first: int, step: int
) -> Operand | None:
    """Return each `step`-th row or column of feature maps; None: the operand is something else."""
    operand = call.operand(0)
    if not isinstance(operand, Value) or len(call.shape) != _RANK or dimension < _RANK - 2:
        return None
    samples, features, *sides = operand.shape
    rows, columns = operand.tensor.shape
    maps = FeatureMaps(operand.tensor, samples, (*sides,), is_batch=True)
    if (rows, columns) != (samples * sides[0] * sides[1], features):
        return None
    if operand.layout != maps.see(operand.tensor, sides).layout:
        return None
    taps, stride = [1, 1], [1, 1]
    taps[dimension - 2], stride[dimension - 2] = first + 1, step
    kernel = Kernel((*taps,), (*stride,), (0, 0), (1, 1))
    window = kernel.over(maps.sides, call.shape[-2:])
    thin = _take_pixels(writer, call.node.name, maps, window)
    return thin.see(thin.tensor, thin.sides)


def _take_pixels(writer: GraphWriter, name: str, maps: FeatureMaps, window: Window) -> FeatureMaps:
    """Write the pixels at the last taps of a window; zeros where they are outside the maps."""
    shape = (window.num_taps, maps.features)
    name_of_weights = f"last_of_{shape[0]}_by_{shape[1]}"
    weights = writer.tensor(name_of_weights, _last_of, *shape, dtype=writer.format)
    rows = maps.samples * window.num_result_pixels
    result = writer.result(name, rows, maps.features)
    weight = writer.parameter(weights, "weight")
    writer.emit(DepthwiseConvolution(result, maps.tensor.name, weight.name, window))
    sides = (window.result_height, window.result_width)
    return FeatureMaps(result, maps.samples, sides, maps.is_batch)


def _add_features(
    writer: GraphWriter, name: str, maps: FeatureMaps, before: int, behind: int
) -> FeatureMaps:
    """Write maps with features of zeros before and behind theirs."""
    features = before + maps.features + behind
    matrix = writer.tensor(
        f"{before}_before_{maps.features}_of_{features}",
        _between_zeros,
        features,
        maps.features,
        before,
        dtype=writer.format,
    )
    result = writer.result(name, maps.tensor.shape[0], features)
    writer.emit(Linear(result, maps.tensor.name, writer.parameter(matrix, "weight").name))
    return FeatureMaps(result, maps.samples, maps.sides, maps.is_batch)


def _last_of(taps: int, features: int, *, dtype: torch.dtype) -> torch.Tensor:
    """Return weights of 1 for the last tap and 0 for the others, of each feature."""
    weights = torch.zeros(taps, features, dtype=dtype)
    weights[-1] = 1
    return weights


def _between_zeros(out: int, features: int, before: int, *, dtype: torch.dtype) -> torch.Tensor:
    """Return a matrix (out, features) that puts `before` zeros before the features."""
    matrix = torch.zeros(out, features, dtype=dtype)
    matrix[before : before + features] = torch.eye(features, dtype=dtype)
    return matrix
