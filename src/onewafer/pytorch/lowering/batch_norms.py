"""Batch norm, with running statistics (inference) or with those of the batch (training)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import torch

from onewafer.graph import BatchMean, BatchNorm, BatchVariance, ScaleFeatures
from onewafer.pytorch.lowering.feature_maps import FeatureMaps, read_pixels
from onewafer.pytorch.lowering.operands import External, Running
from onewafer.pytorch.lowering.products import add_bias
from onewafer.pytorch.lowering.registry import lowers

if TYPE_CHECKING:
    from onewafer.pytorch.lowering.operands import Operand
    from onewafer.pytorch.lowering.registry import Call
    from onewafer.pytorch.lowering.writer import GraphWriter


@lowers("batch_norm.default")
def _lower_batch_norm(writer: GraphWriter, call: Call) -> Operand:
    epsilon = cast("float", call.constant(7, "eps", 1e-5))
    if call.constant(5, "training", default=False):  # without running statistics
        return _normalise_batch(writer, call, read_pixels(writer, call), epsilon)
    return _normalise(writer, call, epsilon)


@lowers("_native_batch_norm_legit_no_training.default")
def _lower_native_batch_norm(writer: GraphWriter, call: Call) -> tuple[Operand, ...]:
    epsilon = cast("float", call.constant(6, "eps", 1e-5))
    return (_normalise(writer, call, epsilon),)


def _normalise(writer: GraphWriter, call: Call, epsilon: float) -> Operand:
    """Write a norm with stored mean and variance: the host folds them into a factor and a shift."""
    mean, variance = call.optional(3, "running_mean"), call.optional(4, "running_var")
    weight, bias = call.optional(1, "weight"), call.optional(2, "bias")
    if not isinstance(mean, External) or not isinstance(variance, External):
        raise call.unsupported("batch norm without running statistics is not supported")
    name = call.node.name
    factors = writer.view(variance, f"{name}__factors", norm_factors, weight, epsilon)
    shifts = writer.view(mean, f"{name}__shifts", norm_shifts, factors, bias)
    maps = read_pixels(writer, call)
    scaled = writer.result(f"{name}_scaled", *maps.tensor.shape)
    factor = writer.parameter(factors, "weight")
    writer.emit(ScaleFeatures(scaled, maps.tensor.name, factor.name))
    return maps.see(add_bias(writer, call, scaled, shifts), maps.sides)


def norm_factors(
    variance: torch.Tensor, weight: torch.Tensor | None, epsilon: float
) -> torch.Tensor:
    """Return the factor of each feature in a batch norm, in the dtype of the variance."""
    factors = 1 / torch.sqrt(variance.float() + epsilon)
    if weight is not None:
        factors = factors * weight.float()
    return factors.to(variance.dtype)


def norm_shifts(
    mean: torch.Tensor, factors: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """Return the shift of each scaled feature in a batch norm, in the dtype of the mean."""
    shifts = -mean.float() * factors.float()
    if bias is not None:
        shifts = shifts + bias.float()
    return shifts.to(mean.dtype)


# --- training ------------------------------------------------------------------------------------


@lowers("_native_batch_norm_legit.no_stats")
def _lower_without_running(writer: GraphWriter, call: Call) -> tuple[Operand, ...]:
    if not call.constant(3, "training", default=False):
        raise call.unsupported("batch norm without running statistics is not supported")
    epsilon = cast("float", call.constant(5, "eps", 1e-5))
    return (_normalise_batch(writer, call, read_pixels(writer, call), epsilon),)


@lowers("_native_batch_norm_legit_functional.default")
def _lower_with_running(writer: GraphWriter, call: Call) -> tuple[Operand, ...]:
    """Return the result, and the new running statistics twice: PyTorch has saved ones between.

    Only PyTorch's own backward pass would read the saved statistics.
    """
    buffers = [call.optional(3, "running_mean"), call.optional(4, "running_var")]
    befores = [buffer for buffer in buffers if isinstance(buffer, External)]
    if len(befores) < len(buffers):
        raise call.unsupported("a batch norm that a call comes to twice is not supported")
    momentum = cast("float", call.constant(6, "momentum", 0.1))
    maps, name = read_pixels(writer, call), call.node.name
    rows, features = maps.tensor.shape
    mean, variance = (writer.result(f"{name}_{what}", 1, features) for what in ("mean", "variance"))
    writer.emit(BatchMean(mean, maps.tensor.name))
    writer.emit(BatchVariance(variance, maps.tensor.name))
    corrections = 1.0, rows / (rows - 1) if rows > 1 else math.nan
    running = [
        Running(before, found, momentum, correction)
        for before, found, correction in zip(befores, (mean, variance), corrections, strict=True)
    ]
    epsilon = cast("float", call.constant(7, "eps", 1e-5))
    return (_normalise_batch(writer, call, maps, epsilon), *running, *running)


def _normalise_batch(writer: GraphWriter, call: Call, maps: FeatureMaps, epsilon: float) -> Operand:
    """Write a norm with the statistics of the batch."""
    features = maps.features
    weight = call.optional(1, "weight") or writer.filled(1.0, features)
    bias = call.optional(2, "bias") or writer.filled(0.0, features)
    result = writer.result(call.node.name, *maps.tensor.shape)
    vectors = writer.parameter(weight, "weight").name, writer.parameter(bias, "bias").name
    writer.emit(BatchNorm(result, maps.tensor.name, *vectors, epsilon))
    return maps.see(result, maps.sides)
