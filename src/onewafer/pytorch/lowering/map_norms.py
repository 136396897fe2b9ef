"""Norms of groups of features of feature maps, each sample by itself: GroupNorm, InstanceNorm."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from onewafer.graph import GroupNorm
from onewafer.pytorch.lowering.batch_norms import read_features
from onewafer.pytorch.lowering.registry import lowers

if TYPE_CHECKING:
    from onewafer.pytorch.lowering.operands import Operand
    from onewafer.pytorch.lowering.registry import Call
    from onewafer.pytorch.lowering.writer import GraphWriter


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

    Weight and bias, which may be left out, are arguments from the `first` on.
    """
    maps = read_features(writer, call)
    writer.note_samples(maps.samples)
    features, rows = maps.features, maps.tensor.shape[0]
    weight = call.optional(first, "weight") or writer.filled(1.0, features)
    bias = call.optional(first + 1, "bias") or writer.filled(0.0, features)
    vectors = writer.parameter(weight, "weight").name, writer.parameter(bias, "bias").name
    result = writer.result(call.node.name, rows, features)
    numbers = rows // maps.samples, groups or features, epsilon
    writer.emit(GroupNorm(result, maps.tensor.name, *vectors, *numbers))
    return maps.see(result, maps.sides)
