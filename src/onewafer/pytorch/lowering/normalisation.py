"""Norms: operations of PyTorch, and the chains of operations that models write instead."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import torch

from onewafer.graph import LayerNorm, RmsNorm
from onewafer.pytorch.lowering.features import mean_of_rows, reduces_rows
from onewafer.pytorch.lowering.map_norms import normalise_samples
from onewafer.pytorch.lowering.operands import (
    Centred,
    External,
    InverseRoot,
    Mean,
    MeanSquare,
    Normalised,
    Polynomial,
    Value,
)
from onewafer.pytorch.lowering.registry import lowers
from onewafer.pytorch.lowering.writer import write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.pytorch.lowering.operands import Operand
    from onewafer.pytorch.lowering.registry import Call
    from onewafer.pytorch.lowering.writer import GraphWriter


@lowers("mean.dim")
def _lower_mean(writer: GraphWriter, call: Call) -> Operand:
    operand = call.operand(0)
    dimensions = cast("Sequence[int]", call.constant(1, "dim", None) or ())
    if isinstance(operand, Value | External) and reduces_rows(writer, operand, dimensions):
        return mean_of_rows(writer, call, dimensions)
    form = _mean(writer, operand)
    if form is None:
        raise call.unsupported(
            "this mean is not supported; a mean over features is one only in a norm"
        )
    rank = len(form.value.shape)
    if [dimension % rank for dimension in dimensions] != [rank - 1]:
        raise call.unsupported("a mean over another dimension than the last is not supported")
    if not call.constant(2, "keepdim", default=False):
        raise call.unsupported("a mean over features without keepdim=True is not supported")
    return form


def _mean(writer: GraphWriter, operand: Operand) -> Mean | MeanSquare | None:
    """Return the mean over the last dimension, as a part of a norm."""
    match operand:
        case Polynomial(value, {2: factor}) if len(operand.terms) == 1 and factor > 0:
            return MeanSquare(value, 0.0, factor)
        case Centred(value, is_squared=True):
            return MeanSquare(value, 0.0, is_centred=True)
        case Value() | External():
            return Mean(writer.value(operand))
        case _:
            return None


@lowers("rsqrt.default")
def _lower_inverse_root(writer: GraphWriter, call: Call) -> Operand:
    del writer
    operand = call.operand(0)
    if not isinstance(operand, MeanSquare):
        raise call.unsupported("an inverse square root is supported only in a norm")
    return InverseRoot(operand)


def normalise(writer: GraphWriter, call: Call, operand: Operand, square: MeanSquare) -> Normalised:
    """Return the norm that a value and the mean of its squares make."""
    match operand:
        case Centred(value, is_squared=False):
            own = MeanSquare(value, square.epsilon, is_centred=True)
        case Polynomial(value, {1: factor}) if len(operand.terms) == 1:
            own = MeanSquare(value, square.epsilon, factor * factor)
            value = writer.value(operand)
        case _:
            value = writer.value(operand)
            own = MeanSquare(value, square.epsilon)
    if own != square:
        raise call.unsupported(
            "normalising a tensor by the mean square of another is not supported"
        )
    return Normalised(value, square.epsilon, square.is_centred)


def scale_normalised(
    writer: GraphWriter, call: Call, norm: Normalised, weight: External
) -> Operand:
    """Write the RMSNorm whose weight this is."""
    features = norm.value.shape[-1]
    if weight.tensor.numel() != features or weight.shape[-1:] != (features,):
        raise call.unsupported(
            f"a norm over {features} features with a weight of {weight.shape} is not supported"
        )
    if weight.shape != (features,):
        name = f"{weight.name}__vector"
        weight = writer.view(weight, name, torch.ops.aten.reshape.default, [features])
    return write_norm(writer, call.node.name, norm, weight)


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
    return write_norm(writer, call.node.name, Normalised(value, cast("float", epsilon)), weight)


@lowers("layer_norm.default")
def _lower_layer_norm(writer: GraphWriter, call: Call) -> Operand:
    operand, normalised = call.operand(0), len(cast("Sequence[int]", call.node.args[1]))
    are_tokens = isinstance(operand, Value) and operand.goes_over_rows(1)
    if 1 < normalised == len(call.shape) - 1 and not are_tokens:
        return normalise_samples(writer, call)
    value = writer.value(operand)
    _check_normalised_shape(call)
    features = value.shape[-1]
    weight, bias = call.optional(2, "weight"), call.optional(3, "bias")
    weight = weight or writer.filled(1.0, features)
    epsilon = cast("float", call.constant(4, "eps", 1e-5))
    norm = Normalised(value, epsilon, is_centred=True)
    return write_norm(writer, call.node.name, norm, weight, bias)


def _check_normalised_shape(call: Call) -> None:
    shape = [*cast("Sequence[int]", call.node.args[1])]
    if len(shape) != 1:
        raise call.unsupported(
            f"normalising over the last {len(shape)} dimensions is not supported, only over "
            "one, and over all but the samples of feature maps"
        )


def write_norm(
    writer: GraphWriter, name: str, norm: Normalised, weight: Operand, bias: Operand | None = None
) -> Value:
    """Write a norm over the last dimension; each group of features has the same weight.

    Only a centred norm has a bias. A weight that may be trained is repeated for each group, and
    PyTorch adds up the gradients of the copies.
    """
    value = norm.value
    source = writer.whole(replace(value, is_wide=False))
    features, groups = source.shape[-1], source.count_groups()
    vector = writer.parameter(_of_all(writer, weight, groups), "weight").name
    result = writer.result(name, *source.tensor.shape)
    if norm.is_centred:
        bias = bias or writer.filled(0.0, features)
        shift = writer.parameter(_of_all(writer, bias, groups), "bias").name
        operands = source.tensor.name, vector, shift
        writer.emit(LayerNorm(result, *operands, norm.epsilon, groups))
    else:
        writer.emit(RmsNorm(result, source.tensor.name, vector, norm.epsilon, groups))
    return Value(result, source.layout, is_wide=value.is_wide)


def _of_all(writer: GraphWriter, vector: Operand, groups: int) -> Operand:
    """Return a vector, repeated for each group if it may be trained (which takes float32)."""
    if groups == 1 or not isinstance(vector, External) or writer.format is not torch.float32:
        return vector
    if not vector.tensor.requires_grad:
        return vector
    return writer.view(
        vector, f"{vector.name}_of_{groups}", torch.ops.aten.repeat.default, [groups]
    )


@write.register(Normalised)
def _(norm: Normalised, writer: GraphWriter) -> Value:
    """Write a norm without a weight."""
    weight = writer.filled(1.0, norm.value.shape[-1])
    return write_norm(writer, f"{norm.value.tensor.name}_normalised", norm, weight)
