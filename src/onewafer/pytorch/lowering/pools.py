"""Max pools and average pools."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from onewafer.graph import (
    DepthwiseConvolution,
    GlobalAveragePool,
    MaxPool,
    ScalePixels,
    Window,
)
from onewafer.pytorch.lowering.feature_maps import (
    FeatureMaps,
    Kernel,
    count_sides,
    numbers,
    read_feature_maps,
)
from onewafer.pytorch.lowering.registry import lowers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.pytorch.lowering.operands import Operand
    from onewafer.pytorch.lowering.registry import Call
    from onewafer.pytorch.lowering.writer import GraphWriter


@lowers("max_pool2d.default", "max_pool1d.default")
def _lower_max_pool(writer: GraphWriter, call: Call) -> Operand:
    num_sides = count_sides(call)
    maps = read_feature_maps(writer, call, num_sides)
    dilation = numbers(call.constant(4, "dilation", 1), num_sides)
    kernel = _pool_kernel(call, num_sides, dilation)
    sides = call.shape[-num_sides:]
    window = kernel.over(maps.sides, sides)
    rows = maps.samples * window.num_result_pixels
    result = writer.result(call.node.name, rows, maps.features)
    writer.emit(MaxPool(result, maps.tensor.name, window))
    return maps.see(result, sides)


def _pool_kernel(call: Call, num_sides: int, dilation: tuple[int, ...]) -> Kernel:
    taps = numbers(call.node.args[1], num_sides)
    stride = call.constant(2, "stride", None) or taps  # an empty list: as large as the kernel
    before = numbers(call.constant(3, "padding", 0), num_sides)
    return Kernel(taps, numbers(stride, num_sides), before, dilation)


@lowers("avg_pool2d.default", "avg_pool1d.default")
def _lower_average_pool(writer: GraphWriter, call: Call) -> Operand:
    num_sides = count_sides(call)
    maps = read_feature_maps(writer, call, num_sides)
    kernel = _pool_kernel(call, num_sides, (1,) * num_sides)
    window = kernel.over(maps.sides, call.shape[-num_sides:])
    divisor = call.constant(6, "divisor_override", None) if num_sides > 1 else None
    counts_margins = bool(call.constant(5, "count_include_pad", default=True))
    counts = _count_pixels(window, kernel, counts_margins=counts_margins)
    if divisor is not None:
        counts = np.full_like(counts, cast("int", divisor))
    return _average(writer, call, maps, window, counts)


def _count_pixels(window: Window, kernel: Kernel, *, counts_margins: bool) -> NDArray[np.intp]:
    """Return the divisor of each pixel of the result: how many pixels its kernel counts.

    Padding counts if `counts_margins`; a part of the kernel beyond the padding never does.
    """
    if not counts_margins:
        return (window.sources() >= 0).sum(axis=-1).reshape(-1)
    top, left = ([0, 0, *kernel.before])[-2:]
    sides = (
        (window.height + top, window.result_height, window.kernel_height, window.stride_y, top),
        (window.width + left, window.result_width, window.kernel_width, window.stride_x, left),
    )
    rows, columns = (
        np.minimum(np.arange(results) * stride + taps, size + margin) - np.arange(results) * stride
        for size, results, taps, stride, margin in sides
    )
    return np.outer(rows, columns).reshape(-1)


@lowers(
    "adaptive_avg_pool2d.default", "_adaptive_avg_pool2d.default", "adaptive_avg_pool1d.default"
)
def _lower_adaptive_average_pool(writer: GraphWriter, call: Call) -> Operand:
    num_sides = count_sides(call)
    maps = read_feature_maps(writer, call, num_sides)
    sides = call.shape[-num_sides:]
    if any(size % result for size, result in zip(maps.sides, sides, strict=True)):
        raise call.unsupported(
            f"pooling {maps.sides} pixels to {sides}, in windows of two sizes, is not supported"
        )
    taps = tuple(size // result for size, result in zip(maps.sides, sides, strict=True))
    none = (0,) * num_sides
    window = Kernel(taps, taps, none, (1,) * num_sides).over(maps.sides, sides)
    counts = np.full(window.num_result_pixels, window.num_taps)
    return _average(writer, call, maps, window, counts)


def _average(
    writer: GraphWriter, call: Call, maps: FeatureMaps, window: Window, counts: NDArray[np.intp]
) -> Operand:
    """Write an average pool; `counts` are the divisors of the pixels of the result.

    Where these differ, as at the borders of maps, all sums are divided by the largest divisor, and
    those with a smaller one are scaled up.
    """
    pixels = window.num_result_pixels
    sides = call.shape[-len(maps.sides) :]
    divisor = int(counts.max())
    is_mean = divisor == window.num_taps == window.num_pixels
    if pixels == 1 and is_mean and (window.sources() >= 0).all():
        result = writer.result(call.node.name, maps.samples, maps.features)
        writer.emit(GlobalAveragePool(result, maps.tensor.name, window.num_pixels))
        return maps.see(result, sides)
    factors = divisor / counts
    is_alike = bool((factors == 1).all())
    name = call.node.name if is_alike else f"{call.node.name}__sums"
    result = writer.result(name, maps.samples * pixels, maps.features)
    shape = (window.num_taps, maps.features)
    share = 1 / divisor
    name = f"{shape[0]}_by_{shape[1]}_times_{share:g}"
    shares = writer.tensor(name, torch.full, shape, share, dtype=writer.format)
    weight = writer.parameter(shares, "weight")
    writer.emit(DepthwiseConvolution(result, maps.tensor.name, weight.name, window))
    if is_alike:
        return maps.see(result, sides)
    found = writer.tensor(
        f"{call.node.name}__factors", _repeat_pixels, factors.tolist(), maps.features, writer.format
    )
    scaled = writer.result(call.node.name, *result.shape)
    writer.emit(ScalePixels(scaled, result.name, writer.parameter(found, "factors").name, pixels))
    return maps.see(scaled, sides)


def _repeat_pixels(factors: list[float], features: int, dtype: torch.dtype) -> torch.Tensor:
    """Return a number of each pixel for each of its features: (pixels, features)."""
    return torch.tensor(factors, dtype=dtype).unsqueeze(1).repeat(1, features)
