"""Element-wise losses between values and targets, reduced to one number or not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from onewafer.graph.operations.checks import wrong_gradient, wrong_vector
from onewafer.graph.operations.layer_part import Place
from onewafer.graph.operations.losses import Reduction
from onewafer.graph.operations.names import ParameterName, ValueName
from onewafer.graph.operations.operation import Operation

if TYPE_CHECKING:
    from onewafer.graph.operations.launch import Array, Launch
    from onewafer.graph.operations.operation import Backward, Tensors

__all__ = ["ElementLoss", "ElementLossGradient", "LossFunction"]

_ONE = (1, 1)
"""The shape of a loss that is one number."""
_LOG_FLOOR = -100.0
"""The smallest logarithm in the binary cross entropy of a probability, as in PyTorch."""


class LossFunction(StrEnum):
    """A loss of a value x and its target t; σ(x) = 1 / (1 + e⁻ˣ)."""

    SQUARE = "square"
    """(x − t)²"""
    ABSOLUTE = "absolute"
    """|x − t|"""
    HUBER = "huber"
    """(x − t)² / 2 where |x − t| is at most δ, else δ · (|x − t| − δ / 2)"""
    BINARY = "binary"
    """−t · log(x) − (1 − t) · log(1 − x), with logarithms of at least −100"""
    BINARY_LOGITS = "binary_logits"
    """−w · t · log(σ(x)) − (1 − t) · log(1 − σ(x)), with the weight w of the feature, or 1"""
    DIVERGENCE = "divergence"
    """t · (log(t) − x), for a log-probability x and a probability t; 0 · log(0) is 0"""
    LOG_DIVERGENCE = "log_divergence"
    """eᵗ · (t − x), for log-probabilities x and t"""

    def apply(self, x: Array, t: Array, *, delta: float, weights: Array | float) -> Array:
        """Return the loss of every element."""
        match self:
            case LossFunction.SQUARE:
                return (x - t) ** 2
            case LossFunction.ABSOLUTE:
                return np.abs(x - t)
            case LossFunction.HUBER:
                return (difference := np.clip(x - t, -delta, delta)) * (x - t - difference / 2)
            case LossFunction.BINARY:
                return -t * _log(x) - (1 - t) * _log(1 - x)
            case LossFunction.BINARY_LOGITS:
                rest = np.log1p(np.exp(-np.abs(x)))
                more = (weights - 1) * t * (rest + np.maximum(-x, 0))
                return np.maximum(x, 0) - x * t + rest + more
            case LossFunction.DIVERGENCE:
                return t * (_log(t) - x)
            case LossFunction.LOG_DIVERGENCE:
                return np.exp(t) * (t - x)

    def derivative(self, x: Array, t: Array, *, delta: float, weights: Array | float) -> Array:
        """Return the derivative by x at every element."""
        match self:
            case LossFunction.SQUARE:
                return 2 * (x - t)
            case LossFunction.ABSOLUTE:
                return np.sign(x - t)
            case LossFunction.HUBER:
                return np.clip(x - t, -delta, delta)
            case LossFunction.BINARY:
                return (x - t) / np.maximum(x * (1 - x), _SMALLEST_VARIANCE)
            case LossFunction.BINARY_LOGITS:
                weighted = weights * t
                return (1 + weighted - t) * (1 + np.tanh(x / 2)) / 2 - weighted
            case LossFunction.DIVERGENCE:
                return -t
            case LossFunction.LOG_DIVERGENCE:
                return -np.exp(t)


_SMALLEST_VARIANCE = 1e-12
"""The smallest divisor x · (1 − x) of a gradient, as in PyTorch."""


def _log(values: Array) -> Array:
    with np.errstate(divide="ignore"):
        return np.maximum(np.log(values), _LOG_FLOOR)


class _OfElements(Operation):
    """An element-wise loss, or its gradient."""

    __slots__ = ()

    input: ValueName
    target: ValueName
    function: LossFunction
    reduction: Reduction
    scale: float
    delta: float
    weights: ParameterName | None

    def wrong_number(self) -> str | None:
        if not (0 < self.delta < math.inf):
            return f"δ is {self.delta}, must be above 0 and finite"
        if not math.isfinite(self.scale):
            return f"the loss is multiplied by {self.scale}, which must be finite"
        if self.weights is not None and self.function is not LossFunction.BINARY_LOGITS:
            return f"weights of features are for {LossFunction.BINARY_LOGITS}, not {self.function}"
        return None

    def wrong_operand(self, tensors: Tensors) -> str | None:
        source, target = tensors[self.input].shape, tensors[self.target].shape
        if source != target:
            return f"the operands have shapes {source} and {target}, which must be equal"
        if self.weights is None:
            return None
        return wrong_vector("vector of weights", tensors[self.weights], source[-1])

    def _shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return the shape of the loss: one number, or that of the input."""
        return tensors[self.input].shape if self.reduction is Reduction.NONE else _ONE

    def _of(self, launch: Launch) -> _Elements:
        """Return the operands of the loss in a launch."""
        weights = 1.0 if self.weights is None else launch[self.weights]
        return _Elements(launch[self.input], launch[self.target], self.delta, weights)


@dataclass(frozen=True, slots=True)
class ElementLoss(_OfElements):
    """An element-wise loss between input and target, reduced and multiplied by `scale`."""

    places = Place.IN_HEAD
    joins_rows = True

    input: ValueName
    target: ValueName
    """A target for each element, of the shape of the input."""
    function: LossFunction
    reduction: Reduction = Reduction.MEAN
    scale: float = 1.0
    """A factor of the result: 1 / β turns a Huber loss with δ = β into the smooth L1 loss."""
    delta: float = 1.0
    """δ of `HUBER`."""
    weights: ParameterName | None = None
    """Weights w of `BINARY_LOGITS`, a parameter of shape (features,); None: all are 1."""

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return the shape of one number, or that of the input."""
        return self._shape(tensors)

    def count_flop(self, tensors: Tensors) -> int:
        """Return the floating point operations: a function and a sum for each element."""
        return 2 * tensors[self.input].num_elements

    def evaluate(self, launch: Launch) -> Array:
        x, t, delta, weights = self._of(launch)
        losses = self.function.apply(x, t, delta=delta, weights=weights) * self.scale
        match self.reduction:
            case Reduction.NONE:
                return losses
            case Reduction.SUM:
                return losses.sum().reshape(_ONE)
            case Reduction.MEAN:
                return losses.mean().reshape(_ONE)

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        backward.refuse(self, self.target, "only that of the first operand is")
        for name in self.parameter_operands:
            backward.refuse(self, name, "weights of features are no weights of a layer")
        operands = gradient, self.input, self.target
        numbers = self.function, self.reduction, self.scale, self.delta, self.weights
        backward.give(self.input, ElementLossGradient, *operands, *numbers)


@dataclass(frozen=True, slots=True)
class ElementLossGradient(_OfElements):
    """Compute the gradient of the input of an `ElementLoss`: the derivative, scaled."""

    element_flop = 2
    """FLOP of the derivative and of the product."""

    gradient: ValueName
    input: ValueName
    target: ValueName
    function: LossFunction
    reduction: Reduction = Reduction.MEAN
    scale: float = 1.0
    delta: float = 1.0
    weights: ParameterName | None = None

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        return tensors[self.input].shape

    def wrong_operand(self, tensors: Tensors) -> str | None:
        wrong = _OfElements.wrong_operand(self, tensors)
        return wrong or wrong_gradient(tensors[self.gradient], self._shape(tensors))

    def evaluate(self, launch: Launch) -> Array:
        x, t, delta, weights = self._of(launch)
        count = x.size if self.reduction is Reduction.MEAN else 1
        slopes = self.function.derivative(x, t, delta=delta, weights=weights)
        return launch[self.gradient] * (self.scale / count) * slopes


class _Elements(NamedTuple):
    """The operands of a loss: values, targets, δ, and weights of features."""

    values: Array
    targets: Array
    delta: float
    weights: Array | float
