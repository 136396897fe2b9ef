"""Losses of elements with what they should be, as one number or one an element."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from onewafer.graph.operations.checks import wrong_gradient
from onewafer.graph.operations.layer_part import Place
from onewafer.graph.operations.losses import Reduction
from onewafer.graph.operations.names import ValueName
from onewafer.graph.operations.operation import Operation

if TYPE_CHECKING:
    from onewafer.graph.operations.launch import Array, Launch
    from onewafer.graph.operations.operation import Backward, Tensors
    from onewafer.graph.tensor import Tensor

__all__ = ["ElementLoss", "ElementLossGradient", "LossFunction"]

_ONE = (1, 1)
"""The shape of a loss that is one number."""
_LOG_FLOOR = -100.0
"""The smallest logarithm in the binary cross entropy of a probability, as in PyTorch."""


class LossFunction(StrEnum):
    """A function of an element x and of what it should be, t; σ(x) = 1 / (1 + e⁻ˣ)."""

    SQUARE = "square"
    """(x − t)²"""
    ABSOLUTE = "absolute"
    """|x − t|"""
    BINARY = "binary"
    """−t · log(x) − (1 − t) · log(1 − x), logarithms at least −100"""
    BINARY_LOGITS = "binary_logits"
    """−t · log(σ(x)) − (1 − t) · log(1 − σ(x))"""

    def apply(self, x: Array, t: Array) -> Array:
        """Return the loss of every element."""
        match self:
            case LossFunction.SQUARE:
                return (x - t) ** 2
            case LossFunction.ABSOLUTE:
                return np.abs(x - t)
            case LossFunction.BINARY:
                return -t * _log(x) - (1 - t) * _log(1 - x)
            case LossFunction.BINARY_LOGITS:
                return np.maximum(x, 0) - x * t + np.log1p(np.exp(-np.abs(x)))

    def derivative(self, x: Array, t: Array) -> Array:
        """Return the derivative by x at every element."""
        match self:
            case LossFunction.SQUARE:
                return 2 * (x - t)
            case LossFunction.ABSOLUTE:
                return np.sign(x - t)
            case LossFunction.BINARY:
                return (x - t) / np.maximum(x * (1 - x), _SMALLEST_VARIANCE)
            case LossFunction.BINARY_LOGITS:
                return (1 + np.tanh(x / 2)) / 2 - t


_SMALLEST_VARIANCE = 1e-12
"""The smallest x · (1 − x) that a gradient is divided by, as in PyTorch."""


def _log(values: Array) -> Array:
    with np.errstate(divide="ignore"):
        return np.maximum(np.log(values), _LOG_FLOOR)


def _shape_of_elements(source: Tensor, reduction: Reduction) -> tuple[int, ...]:
    return source.shape if reduction is Reduction.NONE else _ONE


@dataclass(frozen=True, slots=True)
class ElementLoss(Operation):
    """Compare each element with what it should be, by a function of both."""

    places = Place.IN_HEAD
    joins_rows = True

    input: ValueName
    target: ValueName
    """The shape of the input."""
    function: LossFunction
    reduction: Reduction = Reduction.MEAN

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return one number, or one an element."""
        return _shape_of_elements(tensors[self.input], self.reduction)

    def wrong_operand(self, tensors: Tensors) -> str | None:
        """Return what is wrong with the shapes of its operands; None if nothing is."""
        source, target = tensors[self.input].shape, tensors[self.target].shape
        if source != target:
            return f"the operands have shapes {source} and {target}, which must be equal"
        return None

    def count_flop(self, tensors: Tensors) -> int:
        """Return the floating point operations of a launch: a function and a sum an element."""
        return 2 * tensors[self.input].num_elements

    def evaluate(self, launch: Launch) -> Array:
        """Return its result in a launch."""
        losses = self.function.apply(launch[self.input], launch[self.target])
        match self.reduction:
            case Reduction.NONE:
                return losses
            case Reduction.SUM:
                return losses.sum().reshape(_ONE)
            case Reduction.MEAN:
                return losses.mean().reshape(_ONE)

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        """Add the derivative of each element."""
        backward.refuse(self, self.target, "only that of the first operand is")
        operands = gradient, self.input, self.target
        backward.give(self.input, ElementLossGradient, *operands, self.function, self.reduction)


@dataclass(frozen=True, slots=True)
class ElementLossGradient(Operation):
    """Give the gradient of the input of an `ElementLoss`: the derivative, scaled."""

    element_flop = 2
    """The derivative, and the product."""

    gradient: ValueName
    input: ValueName
    target: ValueName
    function: LossFunction
    reduction: Reduction = Reduction.MEAN

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return the shape of the input."""
        return tensors[self.input].shape

    def wrong_operand(self, tensors: Tensors) -> str | None:
        """Return what is wrong with the shapes of its operands; None if nothing is."""
        source, target = tensors[self.input], tensors[self.target].shape
        if source.shape != target:
            return f"the operands have shapes {source.shape} and {target}, which must be equal"
        expected = _shape_of_elements(source, self.reduction)
        return wrong_gradient(tensors[self.gradient], expected)

    def evaluate(self, launch: Launch) -> Array:
        """Return its result in a launch."""
        gradient, values, target = (launch[name] for name in self.activation_operands)
        count = values.size if self.reduction is Reduction.MEAN else 1
        return gradient / count * self.function.derivative(values, target)
