"""Convolutions, and linear operations on whole feature maps, which are convolutions too."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from onewafer.graph import Convolution, DepthwiseConvolution, Linear, Tensor, Window
from onewafer.pytorch.lowering.feature_maps import (
    FeatureMaps,
    Kernel,
    count_sides,
    numbers,
    read_feature_maps,
)
from onewafer.pytorch.lowering.operands import External, Value, see
from onewafer.pytorch.lowering.products import add_bias, multiply, name_product
from onewafer.pytorch.lowering.registry import lowers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from onewafer.pytorch.lowering.operands import Operand
    from onewafer.pytorch.lowering.registry import Call
    from onewafer.pytorch.lowering.writer import GraphWriter

_aten = torch.ops.aten


@lowers("conv2d.default", "conv2d.padding", "conv1d.default", "conv1d.padding")
def _lower_convolution(writer: GraphWriter, call: Call) -> Operand:
    num_sides = count_sides(call)
    weight, groups = call.operand(1), cast("int", call.constant(6, "groups", 1))
    if not isinstance(weight, External):
        raise call.unsupported(
            "its weight is computed by the module; on the wafer it must be a parameter"
        )
    kernel = _kernel_of(call, weight, num_sides)
    image = call.operand(0)
    if groups == 1 and isinstance(image, External) and _is_cut(image, kernel):
        return _multiply_patches(writer, call, image, weight)
    maps = read_feature_maps(writer, call, num_sides)
    sides = call.shape[-num_sides:]
    window = kernel.over(maps.sides, sides)
    bias = call.optional(2, "bias")
    num_rows = maps.samples * window.num_result_pixels
    product = name_product(writer, call, (num_rows, weight.shape[0]), bias=bias)
    if groups == weight.shape[0] == maps.features > 1:
        taps = _stack(writer, weight, (window.num_taps, groups))
        writer.emit(DepthwiseConvolution(product, maps.tensor.name, taps.name, window))
    else:
        if groups > 1:
            weight = writer.view(weight, f"{weight.name}__of_all", join_groups, groups)
        _emit_convolution(writer, product, maps, weight, window)
    return maps.see(add_bias(writer, call, product, bias), sides)


def _kernel_of(call: Call, weight: External, num_sides: int) -> Kernel:
    taps = weight.shape[2:]
    stride = numbers(call.constant(3, "stride", 1), num_sides)
    dilation = numbers(call.constant(5, "dilation", 1), num_sides)
    padding = call.constant(4, "padding", 0)
    match padding:
        case "valid":
            before = (0,) * num_sides
        case "same":
            before = tuple(d * (k - 1) // 2 for d, k in zip(dilation, taps, strict=True))
        case _:
            before = numbers(padding, num_sides)
    return Kernel(taps, stride, before, dilation)


def _stack(writer: GraphWriter, weight: External, shape: Sequence[int]) -> Tensor:
    """Return a weight (out, in, *taps) as a parameter of this shape, with the taps first."""
    order = (*range(2, len(weight.shape)), 0, 1)
    transposed = writer.view(weight, f"{weight.name}__turned", _aten.permute.default, order)
    return writer.parameter(
        writer.view(transposed, f"{weight.name}__taps", _aten.reshape.default, shape), "weight"
    )


def join_groups(weight: torch.Tensor, groups: int) -> torch.Tensor:
    """Return the weight of a grouped convolution as a dense one, with zeros across groups."""
    out, features = weight.shape[:2]
    whole = weight.new_zeros((out, groups * features, *weight.shape[2:]))
    for group in range(groups):
        rows = slice(group * out // groups, (group + 1) * out // groups)
        whole[rows, group * features : (group + 1) * features] = weight[rows]
    return whole


def _emit_convolution(
    writer: GraphWriter, product: Tensor, maps: FeatureMaps, weight: External, window: Window
) -> None:
    """Write a convolution; one with a 1×1 kernel is a linear operation on pixels."""
    out, features = weight.shape[:2]
    if window == Window(window.height, window.width):
        name = f"{weight.name}__matrix"
        matrix = writer.view(weight, name, _aten.reshape.default, (out, features))
        parameter = writer.parameter(matrix, "weight")
        writer.emit(Linear(product, maps.tensor.name, parameter.name))
        return
    taps = _stack(writer, weight, (window.num_taps, out, features))
    writer.emit(Convolution(product, maps.tensor.name, taps.name, window))


def _is_cut(image: External, kernel: Kernel) -> bool:
    """Tell whether a kernel covers a batch of images with patches that do not overlap."""
    sides = image.shape[-len(kernel.taps) :]
    return (
        len(image.shape) == len(sides) + 2
        and kernel.stride == kernel.taps
        and not any(kernel.before)
        and set(kernel.dilation) == {1}
        and not any(size % taps for size, taps in zip(sides, kernel.taps, strict=True))
    )


def _multiply_patches(
    writer: GraphWriter, call: Call, image: External, weight: External
) -> Operand:
    """Write a patch embedding: the host cuts the images into patches, the wafer multiplies them."""
    batch, features = image.shape[:2]
    out, taps = weight.shape[0], weight.shape[2:]
    sides = tuple(size // n for size, n in zip(image.shape[2:], taps, strict=True))
    name = f"{image.name}__patches"
    cut = [size for pair in zip(sides, taps, strict=True) for size in pair]
    pieces = writer.view(image, f"{name}_cut", _aten.reshape.default, (batch, features, *cut))
    dimensions = range(2, 2 + len(cut), 2)
    order = (0, *dimensions, 1, *(dimension + 1 for dimension in dimensions))
    transposed = writer.view(pieces, f"{name}_turned", _aten.permute.default, order)
    shape = (batch * math.prod(sides), features * math.prod(taps))
    rows = writer.rows(writer.view(transposed, name, _aten.reshape.default, shape))
    flat = writer.view(weight, f"{weight.name}__flat", _aten.reshape.default, (out, shape[1]))
    writer.on_host.append(f"cutting {image.name!r} into patches")
    matrix = writer.parameter(flat, "weight")
    result = multiply(writer, call, rows, matrix, bias=call.optional(2, "bias"))
    return FeatureMaps(rows, batch, sides, is_batch=True).see(result, sides)


def multiply_feature_maps(
    writer: GraphWriter, call: Call, operand: Operand, weight: Operand, *, bias: Operand | None
) -> Operand | None:
    """Write a linear operation on flattened feature maps; None if the operand is something else.

    It is a convolution whose kernel is as large as the feature map; the host brings the columns of
    the weight into the order of the pixels.
    """
    if not isinstance(operand, Value) or not isinstance(weight, External) or operand.is_wide:
        return None
    num_rows, features = operand.tensor.shape
    steps = operand.layout.steps(len(operand.shape) - 1)
    samples = math.prod(operand.shape[:-1])
    pixels = len(steps) // features
    starts = operand.layout.steps(*range(len(operand.shape) - 1))
    is_whole = (
        pixels > 1
        and pixels * samples == num_rows
        and operand.layout.offset == 0
        and (np.sort(steps) == np.arange(pixels * features)).all()
        and (starts == np.arange(samples) * pixels * features).all()
    )
    if not is_whole:
        return None
    writer.note_samples(samples)
    out = weight.shape[0]
    name = f"{weight.name}__by_place"
    if operand.layout.dimensions[-1] == ((features, 1), (pixels, features)):
        whole = writer.view(weight, f"{name}_cut", _aten.reshape.default, (out, features, pixels))
        transposed = writer.view(whole, name, _aten.permute.default, (2, 0, 1))
    else:
        transposed = _sort_columns(writer, weight, steps, features)
    taps = writer.parameter(transposed, "weight")
    product = name_product(writer, call, (samples, out), bias=bias)
    window = Window(1, pixels, 1, pixels)
    writer.emit(Convolution(product, operand.tensor.name, taps.name, window))
    return see(add_bias(writer, call, product, bias), call.shape)


def _sort_columns(
    writer: GraphWriter, weight: External, steps: NDArray[np.intp], features: int
) -> External:
    """Return a weight as (pixels, out, features), its columns sorted by ascending `steps`."""
    index = torch.tensor(np.argsort(steps).tolist())
    name = f"{weight.name}__by_place"
    sorted_ = writer.view(weight, f"{name}_sorted", torch.index_select, 1, index)
    shape = (weight.shape[0], len(steps) // features, features)
    cut = writer.view(sorted_, f"{name}_cut", _aten.reshape.default, shape)
    return writer.view(cut, name, _aten.permute.default, (1, 0, 2))
