"""Losses that a module computes itself, and logarithms of softmax."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import torch

from onewafer.graph import (
    CrossEntropy,
    ElementLoss,
    LogSoftmax,
    LossFunction,
    NegativeLogLikelihood,
    Reduction,
)
from onewafer.pytorch.lowering.operands import (
    DividedLoss,
    External,
    FormError,
    Origin,
    Value,
    see,
)
from onewafer.pytorch.lowering.registry import Number, lowers
from onewafer.pytorch.lowering.writer import write

if TYPE_CHECKING:
    from onewafer.graph import Tensor
    from onewafer.pytorch.lowering.operands import Operand
    from onewafer.pytorch.lowering.registry import Call
    from onewafer.pytorch.lowering.writer import GraphWriter

_REDUCTIONS = {1: Reduction.MEAN, 2: Reduction.SUM}
"""PyTorch's numbers; 0 is a loss for each row or element."""
_MATRIX = 2
LEAST_DELTA = 1e-30
"""The smallest δ: δ² and 1 / δ must be f32 numbers."""


@lowers("cross_entropy_loss.default")
def _lower_cross_entropy(writer: GraphWriter, call: Call) -> Operand:
    logits, targets, weights = _rows(writer, call)
    smoothing = float(cast("float", call.constant(5, "label_smoothing", 0.0)))
    result = writer.result(call.node.name, 1, 1)
    reduction = _reduction(call, 3)
    ignored = cast("int", call.constant(4, "ignore_index", -100))
    operands = logits.name, targets.name, weights
    writer.emit(CrossEntropy(result, *operands, ignored, smoothing, reduction))
    return see(result, call.shape)


@lowers("nll_loss_nd.default", "nll_loss.default")
def _lower_likelihood(writer: GraphWriter, call: Call) -> Operand:
    logarithms, targets, weights = _rows(writer, call)
    result = writer.result(call.node.name, 1, 1)
    ignored = cast("int", call.constant(4, "ignore_index", -100))
    operands = logarithms.name, targets.name, weights
    writer.emit(NegativeLogLikelihood(result, *operands, ignored, _reduction(call, 3)))
    return see(result, call.shape)


def _rows(writer: GraphWriter, call: Call) -> tuple[Tensor, Tensor, str | None]:
    """Return the rows of a loss, the indices of their classes, and the name of class weights."""
    value, targets = writer.value(call.operand(0)), call.operand(1)
    if not isinstance(targets, External) or targets.tensor.is_floating_point():
        raise call.unsupported("targets that are no indices of classes are not supported")
    if len(value.shape) != _MATRIX:
        raise call.unsupported("classes must be the second of two dimensions")
    weights = call.optional(2, "weight")
    name = None if weights is None else writer.parameter(weights, "vector of weights").name
    return writer.rows(value), writer.indices(targets), name


def _reduction(call: Call, index: int) -> Reduction:
    number = cast("int", call.constant(index, "reduction", 1))
    if number not in _REDUCTIONS:
        raise call.unsupported("a loss for each row or element is not supported; use a sum or mean")
    return _REDUCTIONS[number]


def divide_loss(
    writer: GraphWriter, call: Call, loss: Operand, divisor: Operand | Number
) -> DividedLoss | None:
    """Return a loss that the host divides, as by a tensor with a count of tokens; None: it is none.

    Of several sequences no launch has the whole loss, so that the host divides by numbers, too.
    Gradients do not flow to the divisor.
    """
    producer = writer.producer(loss.tensor) if isinstance(loss, Value) else None
    if not isinstance(loss, Value) or producer is None or not producer.joins_rows:
        return None
    if isinstance(divisor, Number):
        is_of_several = divisor.value and (writer.sequences or 1) > 1
        return DividedLoss(loss, writer.filled(divisor.value, 1)) if is_of_several else None
    if not isinstance(divisor, External) or divisor.shape:
        return None
    if divisor.origin is Origin.PARAMETER or divisor.tensor.requires_grad:
        raise call.unsupported("a loss divided by what is trained is not supported")
    return DividedLoss(loss, divisor)


@write.register(DividedLoss)
def _refuse_divided(operand: DividedLoss, writer: GraphWriter) -> Value:
    """Refuse operations on a loss that the host divides."""
    del writer
    raise FormError(operand, f"{operand.what} is supported only as a result of the module")


@lowers("mse_loss.default")
def _lower_square(writer: GraphWriter, call: Call) -> Operand:
    return _compare(writer, call, LossFunction.SQUARE, 2)


@lowers("l1_loss.default")
def _lower_absolute(writer: GraphWriter, call: Call) -> Operand:
    return _compare(writer, call, LossFunction.ABSOLUTE, 2)


@lowers("smooth_l1_loss.default")
def _lower_smooth(writer: GraphWriter, call: Call) -> Operand:
    beta = _delta(call, "beta", least=0.0)
    if not beta:
        return _compare(writer, call, LossFunction.ABSOLUTE, 2)
    return _compare(writer, call, LossFunction.HUBER, 2, scale=1 / beta, delta=beta)


@lowers("huber_loss.default")
def _lower_huber(writer: GraphWriter, call: Call) -> Operand:
    delta = _delta(call, "delta", least=LEAST_DELTA)
    return _compare(writer, call, LossFunction.HUBER, 2, delta=delta)


def _delta(call: Call, name: str, *, least: float) -> float:
    """Return the number from which on a loss is linear."""
    found = float(cast("float", call.constant(3, name, 1.0)))
    if found == least or LEAST_DELTA <= found < math.inf:
        return found
    raise call.unsupported(f"{name}={found:g} is not supported; it must be finite and above 0")


@lowers("kl_div.default")
def _lower_divergence(writer: GraphWriter, call: Call) -> Operand:
    is_logarithm = call.constant(3, "log_target", default=False)
    function = LossFunction.LOG_DIVERGENCE if is_logarithm else LossFunction.DIVERGENCE
    return _compare(writer, call, function, 2)


@lowers("binary_cross_entropy.default")
def _lower_binary(writer: GraphWriter, call: Call) -> Operand:
    _refuse_weights(call, "weight", 2)
    return _compare(writer, call, LossFunction.BINARY, 3)


@lowers("binary_cross_entropy_with_logits.default")
def _lower_binary_logits(writer: GraphWriter, call: Call) -> Operand:
    _refuse_weights(call, "weight", 2)
    weights, value = call.optional(3, "pos_weight"), writer.value(call.operand(0))
    if weights is None:
        return _compare(writer, call, LossFunction.BINARY_LOGITS, 4)
    features = value.shape[-1]
    if isinstance(weights, External) and weights.shape in ((), (1,), (1, features)):
        weights = writer.view(weights, f"{weights.name}_row", _as_row, features)
    row = writer.parameter(weights, "vector of weights")
    if row.shape != (features,):
        raise call.unsupported(
            f"`pos_weight` of shape {row.shape} is not supported; it must have a number, or one "
            f"for each of the {features} features"
        )
    return _compare(writer, call, LossFunction.BINARY_LOGITS, 4, weights=row.name)


def _as_row(weights: torch.Tensor, features: int) -> torch.Tensor:
    return weights.reshape(-1).expand(features).contiguous()


def _refuse_weights(call: Call, name: str, index: int) -> None:
    if call.optional(index, name) is not None:
        raise call.unsupported(f"`{name}` is not supported")


def _compare(
    writer: GraphWriter,
    call: Call,
    function: LossFunction,
    index: int,
    *,
    scale: float = 1.0,
    delta: float = 1.0,
    weights: str | None = None,
) -> Value:
    """Write a loss of elements; `index` is the place of the reduction among the arguments."""
    value = writer.value(call.operand(0))
    target = _beside(writer, value, call.operand(1))
    if value.shape != target.shape:
        raise call.unsupported(f"broadcasting {target.shape} to {value.shape} is not supported")
    value, target = writer.whole(value), writer.whole(target)
    is_alike = (value.layout, value.tensor.shape) == (target.layout, target.tensor.shape)
    if not is_alike or weights is not None:
        value, target = (see(writer.rows(each), each.shape) for each in (value, target))
    reduction = _reduction(call, index)
    result = writer.result(call.node.name, 1, 1)
    operands = value.tensor.name, target.tensor.name
    writer.emit(ElementLoss(result, *operands, function, reduction, scale, delta, weights))
    return see(result, call.shape)


def _beside(writer: GraphWriter, value: Value, target: Operand) -> Value:
    """Return the target of a loss; an argument of the call gets the layout of the value.

    A value of one number per sample may lack its feature dimension, as after `squeeze`.
    """
    rows = value.tensor.shape
    if (
        not isinstance(target, External)
        or target.shape != value.shape
        or target.tensor.numel() != value.tensor.num_elements
        or value.layout != see(value.tensor, value.shape).layout
        or value.shape[-1] == rows[1]
    ):
        return writer.value(target)
    reshape = torch.ops.aten.reshape.default
    by_row = writer.view(target, f"{target.name}_by_row", reshape, list(rows))
    return replace(writer.value(by_row), layout=value.layout)


@lowers("log_softmax.int", "_log_softmax.default")
def _lower_log_softmax(writer: GraphWriter, call: Call) -> Operand:
    value, dimension = writer.value(call.operand(0)), cast("int", call.node.args[1])
    if dimension % len(call.shape) != len(call.shape) - 1:
        raise call.unsupported("log_softmax over another dimension than the last is not supported")
    rows = writer.rows(value)
    result = writer.result(call.node.name, *rows.shape)
    writer.emit(LogSoftmax(result, rows.name))
    return see(result, call.shape)
