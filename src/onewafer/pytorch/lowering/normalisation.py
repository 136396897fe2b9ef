"""Norms: as one operation of PyTorch, and as the chain of which models write RMSNorm."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import torch

from onewafer.graph import LayerNorm
from onewafer.pytorch.lowering.maps import mean_of_rows
from onewafer.pytorch.lowering.operands import (
    External,
    InverseRoot,
    MeanSquare,
    Normalised,
    Polynomial,
    see,
)
from onewafer.pytorch.lowering.registry import lowers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.pytorch.lowering.operands import Operand
    from onewafer.pytorch.lowering.registry import Call
    from onewafer.pytorch.lowering.writer import GraphWriter


@lowers("mean.dim")
def _lower_mean(writer: GraphWriter, call: Call) -> Operand:
    operand = call.operand(0)
    dimensions = cast("Sequence[int]", call.constant(1, "dim", ()))
    if not isinstance(operand, Polynomial) or operand.terms != {2: 1.0}:
        return mean_of_rows(writer, call, dimensions)
    if [dimension % len(operand.shape) for dimension in dimensions] != [len(operand.shape) - 1]:
        raise call.unsupported("the mean of squares is over other dimensions than the last")
    if not call.constant(2, "keepdim", default=False):
        raise call.unsupported("the mean of squares does not keep its dimension")
    return MeanSquare(operand.value, 0.0)


@lowers("rsqrt.default")
def _lower_inverse_root(writer: GraphWriter, call: Call) -> Operand:
    del writer
    operand = call.operand(0)
    if not isinstance(operand, MeanSquare):
        raise call.unsupported("only the root of a mean of squares has a form, as a part of a norm")
    return InverseRoot(operand.value, operand.epsilon)


def scale_normalised(
    writer: GraphWriter, call: Call, norm: Normalised, weight: External
) -> Operand:
    """Write the RMSNorm whose weight this is."""
    features = norm.value.shape[-1]
    if weight.tensor.numel() != features or weight.shape[-1:] != (features,):
        raise call.unsupported(f"the weight of a norm of {features} has shape {weight.shape}")
    if weight.shape != (features,):
        name = f"{weight.name}__vector"
        weight = writer.view(weight, name, torch.ops.aten.reshape.default, [features])
    return writer.rms_norm(call.node.name, norm.value, weight, norm.epsilon)


@lowers("rms_norm.default")
def _lower_rms_norm(writer: GraphWriter, call: Call) -> Operand:
    value = writer.value(call.operand(0))
    _check_normalised_shape(call)
    weight = call.optional(2, "weight")
    epsilon = call.constant(3, "eps", None)
    if epsilon is None:
        epsilon = torch.finfo(call.dtype).eps
    if weight is None:
        weight = writer.filled(1.0, value.shape[-1])
    return writer.rms_norm(call.node.name, value, weight, cast("float", epsilon))


@lowers("layer_norm.default")
def _lower_layer_norm(writer: GraphWriter, call: Call) -> Operand:
    value = writer.value(call.operand(0))
    _check_normalised_shape(call)
    features = value.shape[-1]
    weight, bias = call.optional(2, "weight"), call.optional(3, "bias")
    rows = writer.rows(replace(value, is_wide=False))
    scale = writer.parameter(weight or writer.filled(1.0, features), "weight")
    shift = writer.parameter(bias or writer.filled(0.0, features), "bias")
    epsilon = cast("float", call.constant(4, "eps", 1e-5))
    result = writer.result(call.node.name, *rows.shape)
    writer.emit(LayerNorm(result, rows.name, scale.name, shift.name, epsilon))
    return replace(see(result, call.shape), is_wide=value.is_wide)


def _check_normalised_shape(call: Call) -> None:
    shape = [*cast("Sequence[int]", call.node.args[1])]
    if len(shape) != 1:
        raise call.unsupported(f"it normalises over the {len(shape)} last dimensions, not one")
