"""Convolutions, pools and batch norms: operations on the places of maps.

A map of PyTorch has its features before its places; in the graph each place is a row, those of a
sample one after the other. An image that comes with the call is turned by the host, which computes
nothing; everything after it is a layout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from onewafer.graph import (
    Add,
    AddBias,
    Convolution,
    Depthwise,
    Linear,
    MaxPool,
    MeanRows,
    Scale,
    ScaleFeatures,
    ScaleMaps,
    Tensor,
    Window,
)
from onewafer.pytorch.lowering.layout import Layout
from onewafer.pytorch.lowering.operands import External, Origin, Value, see
from onewafer.pytorch.lowering.registry import lowers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.pytorch.lowering.operands import Operand
    from onewafer.pytorch.lowering.registry import Call
    from onewafer.pytorch.lowering.writer import GraphWriter

_aten = torch.ops.aten
_FEATURES = 1
"""The dimension of a batch of maps that features are; places are the dimensions after it."""


@dataclass(frozen=True, slots=True)
class _Maps:
    """Maps of several samples as a matrix."""

    tensor: Tensor
    samples: int
    sides: tuple[int, ...]
    """Places along each spatial dimension."""
    is_batch: bool
    """Whether PyTorch's tensor has a dimension for the samples."""

    @property
    def features(self) -> int:
        """Features of a place."""
        return self.tensor.shape[1]

    def see(self, tensor: Tensor, sides: Sequence[int]) -> Value:
        """Return rows of the places of as many samples as PyTorch sees them."""
        value = see(tensor, (self.samples, *sides, tensor.shape[1]))
        rank = len(value.shape)
        order = (0, rank - 1, *range(1, rank - 1))
        layout = value.layout.permute(order)
        return Value(tensor, layout if self.is_batch else layout.select(0, 0))


def _read_maps(writer: GraphWriter, call: Call, num_sides: int) -> _Maps:
    """Return the first argument of a call as maps with so many spatial dimensions."""
    operand = call.operand(0)
    if not isinstance(operand, External):
        operand = writer.value(operand)
    shape = operand.shape
    if len(shape) not in (num_sides + 1, num_sides + 2):
        raise call.unsupported(f"its operand has shape {shape}")
    is_batch = len(shape) == num_sides + 2
    features = len(shape) - num_sides - 1
    dimensions = [index for index in range(len(shape)) if index != features]
    if isinstance(operand, External):
        tensor = _turn(writer, operand, dimensions, features)
    else:
        tensor = writer.matrix(operand, dimensions, (features,))
    samples = shape[0] if is_batch else 1
    writer.note_samples(samples)
    return _Maps(tensor, samples, shape[features + 1 :], is_batch)


def _turn(writer: GraphWriter, image: External, rows: Sequence[int], features: int) -> Tensor:
    """Return an argument with one dimension as features; the host puts it last."""
    turned = writer.view(image, f"{image.name}__turned", _aten.permute.default, (*rows, features))
    shape = (math.prod(turned.shape[:-1]), turned.shape[-1])
    places = writer.view(turned, f"{image.name}__places", _aten.reshape.default, shape)
    return writer.rows(places)


# --- windows -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Kernel:
    """A kernel, its steps and the margin before the map, along each spatial dimension."""

    taps: tuple[int, ...]
    stride: tuple[int, ...]
    before: tuple[int, ...]
    dilation: tuple[int, ...]

    def over(self, sides: Sequence[int], result_sides: Sequence[int]) -> Window:
        """Return the window over maps of some sides that gives results of others."""
        parts = [*zip(self.taps, self.stride, self.before, self.dilation, sides, strict=True)]
        after = [
            max(0, (result - 1) * stride + dilation * (taps - 1) + 1 - size - before)
            for (taps, stride, before, dilation, size), result in zip(
                parts, result_sides, strict=True
            )
        ]
        if len(parts) == 1:
            parts.insert(0, (1, 1, 0, 1, 1))
            after.insert(0, 0)
        taps, stride, before, dilation, size = zip(*parts, strict=True)
        return Window(*size, *taps, *stride, *before, *after, *dilation)


def _numbers(value: object, count: int) -> tuple[int, ...]:
    """Return a number for each spatial dimension, from one or as many as there are."""
    numbers = [value] if isinstance(value, int) else [*cast("Sequence[int]", value)]
    return tuple(numbers) * count if len(numbers) == 1 else tuple(numbers)


# --- convolutions ------------------------------------------------------------------------------


@lowers("conv2d.default", "conv2d.padding")
def _lower_conv2d(writer: GraphWriter, call: Call) -> Operand:
    return _convolve(writer, call, 2)


@lowers("conv1d.default", "conv1d.padding")
def _lower_conv1d(writer: GraphWriter, call: Call) -> Operand:
    return _convolve(writer, call, 1)


def _convolve(writer: GraphWriter, call: Call, num_sides: int) -> Operand:
    weight, groups = call.operand(1), cast("int", call.constant(6, "groups", 1))
    if not isinstance(weight, External):
        raise call.unsupported("the weight is computed in the module; the wafer keeps stored ones")
    kernel = _kernel_of(call, weight, num_sides)
    image = call.operand(0)
    if groups == 1 and isinstance(image, External) and _is_cut(image, kernel):
        return _multiply_patches(writer, call, image, weight)
    maps = _read_maps(writer, call, num_sides)
    sides = call.shape[-num_sides:]
    window = kernel.over(maps.sides, sides)
    name = call.node.name
    bias = call.optional(2, "bias")
    product = writer.result(
        name if bias is None else f"{name}_product",
        maps.samples * window.num_result_places,
        weight.shape[0],
    )
    if groups == weight.shape[0] == maps.features > 1:
        taps = _stack(writer, weight, (window.num_taps, groups))
        writer.emit(Depthwise(product, maps.tensor.name, taps.name, window))
    else:
        if groups > 1:
            weight = writer.view(weight, f"{weight.name}__of_all", join_groups, groups)
        _emit_convolution(writer, product, maps, weight, window)
    return maps.see(_add_bias(writer, call, product, bias), sides)


def _kernel_of(call: Call, weight: External, num_sides: int) -> _Kernel:
    taps = weight.shape[2:]
    stride = _numbers(call.constant(3, "stride", 1), num_sides)
    dilation = _numbers(call.constant(5, "dilation", 1), num_sides)
    padding = call.constant(4, "padding", 0)
    match padding:
        case "valid":
            before = (0,) * num_sides
        case "same":
            before = tuple(d * (k - 1) // 2 for d, k in zip(dilation, taps, strict=True))
        case _:
            before = _numbers(padding, num_sides)
    return _Kernel(taps, stride, before, dilation)


def _stack(writer: GraphWriter, weight: External, shape: Sequence[int]) -> Tensor:
    """Return a weight (out, in, *taps) as a parameter whose first dimension is that of the taps."""
    order = (*range(2, len(weight.shape)), 0, 1)
    turned = writer.view(weight, f"{weight.name}__turned", _aten.permute.default, order)
    return writer.parameter(
        writer.view(turned, f"{weight.name}__taps", _aten.reshape.default, shape), "weight"
    )


def join_groups(weight: torch.Tensor, groups: int) -> torch.Tensor:
    """Return the weight of a convolution in groups as one over all features, zero across groups."""
    out, features = weight.shape[:2]
    whole = weight.new_zeros((out, groups * features, *weight.shape[2:]))
    for group in range(groups):
        rows = slice(group * out // groups, (group + 1) * out // groups)
        whole[rows, group * features : (group + 1) * features] = weight[rows]
    return whole


def _emit_convolution(
    writer: GraphWriter, product: Tensor, maps: _Maps, weight: External, window: Window
) -> None:
    """Write a convolution, or a linear operation where each place is its own only tap."""
    out, features = weight.shape[:2]
    if window == Window(window.height, window.width):
        name = f"{weight.name}__matrix"
        matrix = writer.view(weight, name, _aten.reshape.default, (out, features))
        parameter = writer.parameter(matrix, "weight")
        writer.emit(Linear(product, maps.tensor.name, parameter.name))
        return
    taps = _stack(writer, weight, (window.num_taps, out, features))
    writer.emit(Convolution(product, maps.tensor.name, taps.name, window))


def _add_bias(writer: GraphWriter, call: Call, rows: Tensor, bias: Operand | None) -> Tensor:
    if bias is None:
        return rows
    vector = writer.parameter(bias, "bias")
    result = writer.result(call.node.name, *rows.shape)
    writer.emit(AddBias(result, rows.name, vector.name))
    return result


def _is_cut(image: External, kernel: _Kernel) -> bool:
    """Tell whether the kernel cuts a batch of images into patches that do not overlap."""
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
    """Multiply patches that do not overlap: the host cuts them out, which computes nothing."""
    batch, features = image.shape[:2]
    out, taps = weight.shape[0], weight.shape[2:]
    sides = tuple(size // n for size, n in zip(image.shape[2:], taps, strict=True))
    name = f"{image.name}__patches"
    cut = [size for pair in zip(sides, taps, strict=True) for size in pair]
    pieces = writer.view(image, f"{name}_cut", _aten.reshape.default, (batch, features, *cut))
    places = range(2, 2 + len(cut), 2)
    order = (0, *places, 1, *(place + 1 for place in places))
    turned = writer.view(pieces, f"{name}_turned", _aten.permute.default, order)
    shape = (batch * math.prod(sides), features * math.prod(taps))
    rows = writer.rows(writer.view(turned, name, _aten.reshape.default, shape))
    flat = writer.view(weight, f"{weight.name}__flat", _aten.reshape.default, (out, shape[1]))
    bias = call.optional(2, "bias")
    product_name = call.node.name if bias is None else f"{call.node.name}_product"
    product = writer.result(product_name, shape[0], out)
    writer.emit(Linear(product, rows.name, writer.parameter(flat, "weight").name))
    writer.on_host.append(f"cutting {image.name!r} into patches")
    result = _add_bias(writer, call, product, bias)
    return _Maps(rows, batch, sides, is_batch=True).see(result, sides)


def multiply_maps(
    writer: GraphWriter, call: Call, operand: Operand, weight: Operand, bias: Operand | None
) -> Operand | None:
    """Write a linear operation on whole maps that were flattened; None if there are none.

    It is a convolution whose kernel is as large as the map; the host puts the columns of the weight
    into the order of the places.
    """
    if not isinstance(operand, Value) or not isinstance(weight, External) or operand.is_wide:
        return None
    num_rows, features = operand.tensor.shape
    steps = operand.layout.steps(len(operand.shape) - 1)
    samples = math.prod(operand.shape[:-1])
    places = len(steps) // features
    starts = operand.layout.steps(*range(len(operand.shape) - 1))
    is_whole = (
        places > 1
        and places * samples == num_rows
        and operand.layout.offset == 0
        and (np.sort(steps) == np.arange(places * features)).all()
        and (starts == np.arange(samples) * places * features).all()
    )
    if not is_whole:
        return None
    writer.note_samples(samples)
    out = weight.shape[0]
    index = torch.tensor(np.argsort(steps).tolist())
    name = f"{weight.name}__by_place"
    sorted_ = writer.view(weight, f"{name}_sorted", torch.index_select, 1, index)
    cut = writer.view(sorted_, f"{name}_cut", _aten.reshape.default, (out, places, features))
    taps = writer.parameter(writer.view(cut, name, _aten.permute.default, (1, 0, 2)), "weight")
    product_name = call.node.name if bias is None else f"{call.node.name}_product"
    product = writer.result(product_name, samples, out)
    window = Window(1, places, 1, places)
    writer.emit(Convolution(product, operand.tensor.name, taps.name, window))
    return see(_add_bias(writer, call, product, bias), call.shape)


# --- pools -------------------------------------------------------------------------------------


@lowers("max_pool2d.default")
def _lower_max_pool2d(writer: GraphWriter, call: Call) -> Operand:
    return _take_largest(writer, call, 2)


@lowers("max_pool1d.default")
def _lower_max_pool1d(writer: GraphWriter, call: Call) -> Operand:
    return _take_largest(writer, call, 1)


def _take_largest(writer: GraphWriter, call: Call, num_sides: int) -> Operand:
    maps = _read_maps(writer, call, num_sides)
    dilation = _numbers(call.constant(4, "dilation", 1), num_sides)
    kernel = _pool_kernel(call, num_sides, dilation)
    sides = call.shape[-num_sides:]
    window = kernel.over(maps.sides, sides)
    rows = maps.samples * window.num_result_places
    result = writer.result(call.node.name, rows, maps.features)
    writer.emit(MaxPool(result, maps.tensor.name, window))
    return maps.see(result, sides)


def _pool_kernel(call: Call, num_sides: int, dilation: tuple[int, ...]) -> _Kernel:
    taps = _numbers(call.node.args[1], num_sides)
    stride = call.constant(2, "stride", None) or taps  # an empty list: as large as the kernel
    before = _numbers(call.constant(3, "padding", 0), num_sides)
    return _Kernel(taps, _numbers(stride, num_sides), before, dilation)


@lowers("avg_pool2d.default")
def _lower_average_pool2d(writer: GraphWriter, call: Call) -> Operand:
    if call.constant(6, "divisor_override", None) is not None:
        raise call.unsupported("it divides by another number than that of the places")
    return _take_averages(writer, call, 2)


@lowers("avg_pool1d.default")
def _lower_average_pool1d(writer: GraphWriter, call: Call) -> Operand:
    return _take_averages(writer, call, 1)


def _take_averages(writer: GraphWriter, call: Call, num_sides: int) -> Operand:
    maps = _read_maps(writer, call, num_sides)
    kernel = _pool_kernel(call, num_sides, (1,) * num_sides)
    window = kernel.over(maps.sides, call.shape[-num_sides:])
    counts_margins = call.constant(5, "count_include_pad", default=True)
    before, after = (window.top, window.left), (window.bottom, window.right)
    overhangs = any(end > begin for begin, end in zip(before, after, strict=True))
    if (overhangs or not counts_margins) and (window.sources() < 0).any():
        raise call.unsupported("it averages over fewer places at the border than elsewhere")
    return _average(writer, call, maps, window)


@lowers("adaptive_avg_pool2d.default", "_adaptive_avg_pool2d.default")
def _lower_adaptive_average_pool2d(writer: GraphWriter, call: Call) -> Operand:
    return _average_adaptively(writer, call, 2)


@lowers("adaptive_avg_pool1d.default")
def _lower_adaptive_average_pool1d(writer: GraphWriter, call: Call) -> Operand:
    return _average_adaptively(writer, call, 1)


def _average_adaptively(writer: GraphWriter, call: Call, num_sides: int) -> Operand:
    maps = _read_maps(writer, call, num_sides)
    sides = call.shape[-num_sides:]
    if any(size % result for size, result in zip(maps.sides, sides, strict=True)):
        raise call.unsupported(f"its windows over {maps.sides} places differ in size")
    taps = tuple(size // result for size, result in zip(maps.sides, sides, strict=True))
    none = (0,) * num_sides
    window = _Kernel(taps, taps, none, (1,) * num_sides).over(maps.sides, sides)
    return _average(writer, call, maps, window)


def _average(writer: GraphWriter, call: Call, maps: _Maps, window: Window) -> Operand:
    """Write a mean over all taps of a window, which are equally many everywhere."""
    places = window.num_result_places
    sides = call.shape[-len(maps.sides) :]
    result = writer.result(call.node.name, maps.samples * places, maps.features)
    if places == 1 and window.num_taps == window.num_places and (window.sources() >= 0).all():
        writer.emit(MeanRows(result, maps.tensor.name, window.num_places))
        return maps.see(result, sides)
    shape = (window.num_taps, maps.features)
    share = 1 / window.num_taps
    name = f"{shape[0]}_by_{shape[1]}_times_{share:g}"
    shares = writer.derive(name, torch.full, shape, share, dtype=writer.format)
    assert isinstance(shares, External), "full gives one tensor"  # invariant
    weight = writer.parameter(shares, "weight")
    writer.emit(Depthwise(result, maps.tensor.name, weight.name, window))
    return maps.see(result, sides)


def reduces_rows(writer: GraphWriter, operand: Operand, dimensions: Sequence[int]) -> bool:
    """Tell whether dimensions of a value are those of rows, not of features, or of size 1."""
    value = writer.value(operand)
    return bool(dimensions) and all(
        value.shape[index] == 1 or _is_of_rows(value, index) for index in dimensions
    )


def _is_of_rows(value: Value, dimension: int) -> bool:
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
    samples = [index for index in kept if _is_of_rows(value, index)]
    features = [index for index in kept if index not in samples]
    tensor = writer.matrix(value, samples + reduced, features)
    num_samples = math.prod(value.shape[index] for index in samples)
    writer.note_samples(num_samples)
    result = writer.result(call.node.name, num_samples, tensor.shape[1])
    num_rows = tensor.shape[0] // num_samples
    writer.emit(MeanRows(result, tensor.name, num_rows))
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


# --- one number a feature ----------------------------------------------------------------------


def scale_features(
    writer: GraphWriter, call: Call, operand: Operand, stored: Operand
) -> Value | None:
    """Write a product with one learned number a feature; None if it is something else."""
    found = _find_vector(writer, call, operand, stored)
    if found is None:
        return None
    source, vector = found
    result = writer.result(call.node.name, *source.tensor.shape)
    writer.emit(ScaleFeatures(result, source.tensor.name, vector.name))
    return Value(result, source.layout)


def shift_features(
    writer: GraphWriter, call: Call, operand: Operand, stored: Operand
) -> Value | None:
    """Write a sum with one learned number a feature; None if it is something else."""
    found = _find_vector(writer, call, operand, stored)
    if found is None:
        return None
    source, vector = found
    result = writer.result(call.node.name, *source.tensor.shape)
    writer.emit(AddBias(result, source.tensor.name, vector.name))
    return Value(result, source.layout)


def _find_vector(
    writer: GraphWriter, call: Call, operand: Operand, stored: Operand
) -> tuple[Value, Tensor] | None:
    """Return a value as a whole matrix, and what is stored as the vector of its features.

    What depends on positions may look like it where there is only one; a parameter does not.
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
    """Write `shift + value · factors · operand` where both are one number a feature."""
    factor, first, second = (call.operand(index) for index in (0, 1, 2))
    stored, operand = (first, second) if isinstance(first, External) else (second, first)
    if call.constant(3, "value", 1) != 1:
        raise call.unsupported("its factor is not 1")
    if isinstance(operand, External):
        operand = writer.value(operand)
    scaled = scale_features(writer, call, operand, stored)
    shifted = None if scaled is None else shift_features(writer, call, scaled, factor)
    if shifted is None:
        raise call.unsupported("only learned numbers, one a feature, can scale and shift a value")
    return shifted


def scale_maps(writer: GraphWriter, call: Call, left: Operand, right: Operand) -> Value | None:
    """Write a product with a computed row for all places of a sample; None if it is none."""
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
    samples = [index for index in kept if _is_of_rows(maps, index)]
    features = [index for index in kept if index not in samples]
    rows = writer.matrix(maps, samples + places, features)
    factors = writer.matrix(gate, samples, features)
    num_samples = factors.shape[0]
    writer.note_samples(num_samples)
    result = writer.result(call.node.name, *rows.shape)
    size = rows.shape[0] // num_samples
    writer.emit(ScaleMaps(result, rows.name, factors.name, size))
    order = samples + places + features
    seen = see(result, [maps.shape[index] for index in order])
    return Value(result, seen.layout.permute([order.index(index) for index in range(rank)]))


# --- batch norm --------------------------------------------------------------------------------


@lowers("batch_norm.default")
def _lower_batch_norm(writer: GraphWriter, call: Call) -> Operand:
    if call.constant(5, "training", default=False):
        raise call.unsupported("a batch norm in training mode is one over the batch; use eval()")
    return _normalise_batch(writer, call, cast("float", call.constant(7, "eps", 1e-5)))


@lowers("_native_batch_norm_legit_no_training.default")
def _lower_native_batch_norm(writer: GraphWriter, call: Call) -> tuple[Operand, ...]:
    epsilon = cast("float", call.constant(6, "eps", 1e-5))
    return (_normalise_batch(writer, call, epsilon),)


def _normalise_batch(writer: GraphWriter, call: Call, epsilon: float) -> Operand:
    """Write a norm with stored mean and variance: the host makes one factor and shift of them."""
    mean, variance = call.optional(3, "running_mean"), call.optional(4, "running_var")
    weight, bias = call.optional(1, "weight"), call.optional(2, "bias")
    if not isinstance(mean, External) or not isinstance(variance, External):
        raise call.unsupported("it has no stored mean and variance; it would take those of a batch")
    name = call.node.name
    factors = writer.view(variance, f"{name}__factors", norm_factors, weight, epsilon)
    shifts = writer.view(mean, f"{name}__shifts", norm_shifts, factors, bias)
    maps = _read_features(writer, call)
    scaled = writer.result(f"{name}_scaled", *maps.tensor.shape)
    factor = writer.parameter(factors, "weight")
    writer.emit(ScaleFeatures(scaled, maps.tensor.name, factor.name))
    return maps.see(_add_bias(writer, call, scaled, shifts), maps.sides)


def _read_features(writer: GraphWriter, call: Call) -> _Maps:
    """Return a batch of any number of spatial dimensions as rows; it does not care for maps."""
    operand = call.operand(0)
    if not isinstance(operand, External):
        operand = writer.value(operand)
    shape = operand.shape
    rows = [index for index in range(len(shape)) if index != _FEATURES]
    if isinstance(operand, External):
        tensor = _turn(writer, operand, rows, _FEATURES)
    else:
        tensor = writer.matrix(operand, rows, (_FEATURES,))
    return _Maps(tensor, shape[0], shape[2:], is_batch=True)


def norm_factors(
    variance: torch.Tensor, weight: torch.Tensor | None, epsilon: float
) -> torch.Tensor:
    """Return by what a batch norm multiplies each feature, in the type of the variance."""
    factors = 1 / torch.sqrt(variance.float() + epsilon)
    if weight is not None:
        factors = factors * weight.float()
    return factors.to(variance.dtype)


def norm_shifts(
    mean: torch.Tensor, factors: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """Return what a batch norm adds to each feature then, in the type of the mean."""
    shifts = -mean.float() * factors.float()
    if bias is not None:
        shifts = shifts + bias.float()
    return shifts.to(mean.dtype)
