"""Norms of feature maps, each sample by itself: GroupNorm, InstanceNorm, and LayerNorm of maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch

from onewafer.graph import GroupNorm, ScalePixels, ShiftPixels
from onewafer.pytorch.lowering.feature_maps import read_pixels
from onewafer.pytorch.lowering.operands import External
from onewafer.pytorch.lowering.registry import lowers

if TYPE_CHECKING:
    from onewafer.pytorch.lowering.operands import Operand
    from onewafer.pytorch.lowering.registry import Call
    from onewafer.pytorch.lowering.writer import GraphWriter

_aten = torch.ops.aten


@lowers("group_norm.default")
def _lower_group_norm(writer: GraphWriter, call: Call) -> Operand:
    groups, epsilon = call.constant(1, "num_groups", None), call.constant(4, "eps", 1e-5)
    return _normalise(writer, call, 2, groups=cast("int", groups), epsilon=cast("float", epsilon))


@lowers("native_group_norm.default")
def _lower_native_group_norm(writer: GraphWriter, call: Call) -> tuple[Operand, ...]:
    groups, epsilon = call.constant(6, "group", None), call.constant(7, "eps", None)
    result = _normalise(writer, call, 1, groups=cast("int", groups), epsilon=cast("float", epsilon))
    return (result,)


@lowers("instance_norm.default")
def _lower_instance_norm(writer: GraphWriter, call: Call) -> Operand:
    statistics = call.optional(3, "running_mean"), call.optional(4, "running_var")
    if any(operand is not None for operand in statistics):
        raise call.unsupported("an instance norm with running statistics is not supported")
    epsilon = cast("float", call.constant(7, "eps", 1e-5))
    return _normalise(writer, call, 1, groups=None, epsilon=epsilon)


def _normalise(
    writer: GraphWriter, call: Call, first: int, *, groups: int | None, epsilon: float
) -> Operand:
    """Write a norm of so many groups of features; None: each feature by itself.

    Weight and bias, which may be left out, are the arguments `first` and `first + 1`.
    """
    maps = read_pixels(writer, call)
    writer.note_samples(maps.samples)
    features, rows = maps.features, maps.tensor.shape[0]
    weight = call.optional(first, "weight") or writer.filled(1.0, features)
    bias = call.optional(first + 1, "bias") or writer.filled(0.0, features)
    vectors = writer.parameter(weight, "weight").name, writer.parameter(bias, "bias").name
    result = writer.result(call.node.name, rows, features)
    numbers = rows // maps.samples, groups or features, epsilon
    writer.emit(GroupNorm(result, maps.tensor.name, *vectors, *numbers))
    return maps.see(result, maps.sides)


def normalise_samples(writer: GraphWriter, call: Call) -> Operand:
    """Write a layer norm over all features and pixels of each sample: a norm of one group.

    Its weight and bias have a number for each feature of each pixel.
    """
    maps = read_pixels(writer, call)
    writer.note_samples(maps.samples)
    features, pixels = maps.features, maps.tensor.shape[0] // maps.samples
    ones, zeros = writer.filled(1.0, features), writer.filled(0.0, features)
    vectors = writer.parameter(ones, "weight").name, writer.parameter(zeros, "bias").name
    epsilon, name = cast("float", call.constant(4, "eps", 1e-5)), call.node.name
    stored = [(ScalePixels, call.optional(2, "weight")), (ShiftPixels, call.optional(3, "bias"))]
    steps = [(form, operand) for form, operand in stored if operand is not None]
    names = [*(f"{name}__{index}" for index in range(len(steps))), name]
    result = writer.result(names[0], *maps.tensor.shape)
    writer.emit(GroupNorm(result, maps.tensor.name, *vectors, pixels, 1, epsilon))
    for result_name, (form, operand) in zip(names[1:], steps, strict=True):
        if not isinstance(operand, External):
            raise call.unsupported("a norm whose weight the module computes is not supported")
        source, result = result, writer.result(result_name, *maps.tensor.shape)
        of_features = writer.view(
            operand, f"{operand.name}__of_features", _aten.reshape.default, (features, pixels)
        )
        of_pixels = writer.view(
            of_features, f"{operand.name}__of_pixels", _aten.permute.default, (1, 0)
        )
        parameter = writer.parameter(of_pixels, "weight")
        writer.emit(form(result, source.name, parameter.name, pixels))
    return maps.see(result, maps.sides)
