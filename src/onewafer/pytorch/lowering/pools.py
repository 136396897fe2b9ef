"""Pools: the largest and the mean over the pixels that a kernel covers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from onewafer.graph import DepthwiseConvolution, GlobalAveragePool, MaxPool, Window
from onewafer.pytorch.lowering.feature_maps import FeatureMaps, Kernel, numbers, read_feature_maps
from onewafer.pytorch.lowering.operands import External
from onewafer.pytorch.lowering.registry import lowers

if TYPE_CHECKING:
    from onewafer.pytorch.lowering.operands import Operand
    from onewafer.pytorch.lowering.registry import Call
    from onewafer.pytorch.lowering.writer import GraphWriter


@lowers("max_pool2d.default")
def _lower_max_pool2d(writer: GraphWriter, call: Call) -> Operand:
    return _take_largest(writer, call, 2)


@lowers("max_pool1d.default")
def _lower_max_pool1d(writer: GraphWriter, call: Call) -> Operand:
    return _take_largest(writer, call, 1)


def _take_largest(writer: GraphWriter, call: Call, num_sides: int) -> Operand:
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


@lowers("avg_pool2d.default")
def _lower_average_pool2d(writer: GraphWriter, call: Call) -> Operand:
    if call.constant(6, "divisor_override", None) is not None:
        raise call.unsupported("divisor_override is not supported")
    return _take_averages(writer, call, 2)


@lowers("avg_pool1d.default")
def _lower_average_pool1d(writer: GraphWriter, call: Call) -> Operand:
    return _take_averages(writer, call, 1)


def _take_averages(writer: GraphWriter, call: Call, num_sides: int) -> Operand:
    maps = read_feature_maps(writer, call, num_sides)
    kernel = _pool_kernel(call, num_sides, (1,) * num_sides)
    window = kernel.over(maps.sides, call.shape[-num_sides:])
    counts_margins = call.constant(5, "count_include_pad", default=True)
    before, after = (window.top, window.left), (window.bottom, window.right)
    overhangs = any(end > begin for begin, end in zip(before, after, strict=True))
    count = window.num_taps
    if overhangs or not counts_margins:
        counts = {int(found) for found in (window.sources() >= 0).sum(axis=-1).reshape(-1)}
        if len(counts) > 1:
            raise call.unsupported(
                "averaging over fewer pixels at the border than elsewhere is not supported"
            )
        (count,) = counts
    return _average(writer, call, maps, window, count)


@lowers("adaptive_avg_pool2d.default", "_adaptive_avg_pool2d.default")
def _lower_adaptive_average_pool2d(writer: GraphWriter, call: Call) -> Operand:
    return _average_adaptively(writer, call, 2)


@lowers("adaptive_avg_pool1d.default")
def _lower_adaptive_average_pool1d(writer: GraphWriter, call: Call) -> Operand:
    return _average_adaptively(writer, call, 1)


def _average_adaptively(writer: GraphWriter, call: Call, num_sides: int) -> Operand:
    maps = read_feature_maps(writer, call, num_sides)
    sides = call.shape[-num_sides:]
    if any(size % result for size, result in zip(maps.sides, sides, strict=True)):
        raise call.unsupported(
            f"pooling {maps.sides} pixels to {sides}, in windows of two sizes, is not supported"
        )
    taps = tuple(size // result for size, result in zip(maps.sides, sides, strict=True))
    none = (0,) * num_sides
    window = Kernel(taps, taps, none, (1,) * num_sides).over(maps.sides, sides)
    return _average(writer, call, maps, window, window.num_taps)


def _average(
    writer: GraphWriter, call: Call, maps: FeatureMaps, window: Window, count: int
) -> Operand:
    """Write a mean over the pixels of a window, of which `count` are counted everywhere."""
    pixels = window.num_result_pixels
    sides = call.shape[-len(maps.sides) :]
    result = writer.result(call.node.name, maps.samples * pixels, maps.features)
    if pixels == 1 and window.num_taps == window.num_pixels and (window.sources() >= 0).all():
        writer.emit(GlobalAveragePool(result, maps.tensor.name, window.num_pixels))
        return maps.see(result, sides)
    shape = (window.num_taps, maps.features)
    share = 1 / count
    name = f"{shape[0]}_by_{shape[1]}_times_{share:g}"
    shares = writer.derive(name, torch.full, shape, share, dtype=writer.format)
    assert isinstance(shares, External), "full gives one tensor"  # invariant
    weight = writer.parameter(shares, "weight")
    writer.emit(DepthwiseConvolution(result, maps.tensor.name, weight.name, window))
    return maps.see(result, sides)
