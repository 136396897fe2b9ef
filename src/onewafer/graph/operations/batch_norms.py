"""Batch norms: norms of each feature over all rows of a launch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.graph.operations.checks import not_a_matrix, wrong_gradient, wrong_vector
from onewafer.graph.operations.dense import SumRows
from onewafer.graph.operations.layer_part import LayerPart
from onewafer.graph.operations.names import PARAMETERS, ParameterName, ValueName, fields_with
from onewafer.graph.operations.operation import Operation

if TYPE_CHECKING:
    from onewafer.graph.operations.launch import Array, Launch
    from onewafer.graph.operations.operation import Backward, Tensors

__all__ = [
    "BatchMean",
    "BatchNorm",
    "BatchNormInputGradient",
    "BatchNormWeightGradient",
    "BatchVariance",
]


@dataclass(frozen=True, slots=True)
class _Statistic(Operation):
    """A statistic of each feature over all rows, as one row."""

    part = LayerPart.NORMS
    joins_rows = True

    input: ValueName

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return a row."""
        return (1, tensors[self.input].shape[-1])

    def wrong_operand(self, tensors: Tensors) -> str | None:
        return not_a_matrix("input", tensors[self.input])


@dataclass(frozen=True, slots=True)
class BatchMean(_Statistic):
    """The mean of each feature over all rows; two-dimensional, one row."""

    def count_flop(self, tensors: Tensors) -> int:
        return tensors[self.input].num_elements + self.result.num_elements

    def evaluate(self, launch: Launch) -> Array:
        return launch[self.input].mean(axis=0, keepdims=True)


@dataclass(frozen=True, slots=True)
class BatchVariance(_Statistic):
    """The variance of each feature over all rows, divided by their number; one row."""

    def count_flop(self, tensors: Tensors) -> int:
        return 3 * tensors[self.input].num_elements + self.result.num_elements

    def evaluate(self, launch: Launch) -> Array:
        return launch[self.input].var(axis=0, keepdims=True)


class _BatchNorm(Operation):
    """A batch norm, or its gradient."""

    __slots__ = ()

    part = LayerPart.NORMS
    joins_rows = True

    input: ValueName
    epsilon: float

    def wrong_number(self) -> str | None:
        if not 0 < self.epsilon < math.inf:
            return f"epsilon is {self.epsilon}, must be positive"
        return None

    def wrong_operand(self, tensors: Tensors) -> str | None:
        source = tensors[self.input]
        wrong = not_a_matrix("input", source)
        for field in fields_with(type(self), PARAMETERS):
            vector = tensors[getattr(self, field)]
            wrong = wrong or wrong_vector(field, vector, source.shape[-1])
        return wrong

    def _normalized(self, launch: Launch) -> tuple[Array, Array]:
        """Return the normalized input and the factor of the normalization."""
        rows = launch[self.input]
        scale = 1 / np.sqrt(rows.var(axis=0) + self.epsilon)
        return (rows - rows.mean(axis=0)) * scale, scale


@dataclass(frozen=True, slots=True)
class BatchNorm(_BatchNorm):
    """Normalize each feature over all rows to mean 0 and variance 1, then scale and shift it.

    `result[r, f] = (input[r, f] − mean[f]) / √(variance[f] + epsilon) · weight[f] + bias[f]`;
    two-dimensional.
    """

    element_flop = 7
    """Sum, subtract the mean, square, sum; subtract the mean, scale, shift."""

    input: ValueName
    weight: ParameterName
    """A parameter of shape (features,)."""
    bias: ParameterName
    """A parameter of shape (features,)."""
    epsilon: float

    def evaluate(self, launch: Launch) -> Array:
        normalized, _ = self._normalized(launch)
        return normalized * launch[self.weight] + launch[self.bias]

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        operands = gradient, self.input
        backward.give(self.input, BatchNormInputGradient, *operands, self.weight, self.epsilon)
        backward.give(self.weight, BatchNormWeightGradient, *operands, self.epsilon)
        backward.give(self.bias, SumRows, gradient)


class _BatchNormGradient(_BatchNorm):
    """A gradient of a `BatchNorm`."""

    __slots__ = ()

    gradient: ValueName

    def wrong_operand(self, tensors: Tensors) -> str | None:
        wrong = wrong_gradient(tensors[self.gradient], tensors[self.input].shape)
        return wrong or _BatchNorm.wrong_operand(self, tensors)


@dataclass(frozen=True, slots=True)
class BatchNormInputGradient(_BatchNormGradient):
    """Compute the gradient of the input of a `BatchNorm`; two-dimensional.

    With x the normalized input, d the gradient and s = weight / √(variance + epsilon):
    `result = s · (d − mean(d) − x · mean(d · x))`, with means over all rows.
    """

    element_flop = 8

    gradient: ValueName
    input: ValueName
    weight: ParameterName
    epsilon: float

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        return tensors[self.input].shape

    def evaluate(self, launch: Launch) -> Array:
        normalized, scale = self._normalized(launch)
        gradient = launch[self.gradient]
        means = gradient.mean(axis=0) + normalized * (gradient * normalized).mean(axis=0)
        return scale * launch[self.weight] * (gradient - means)


class OfNormWeight(Operation):
    """The gradient of the weight of a norm: `result[f] = Σᵣ d[r, f] · x[r, f]`.

    d is the gradient, x the normalized input; two-dimensional.
    """

    __slots__ = ()

    gradient: ValueName
    input: ValueName

    def _normalized(self, launch: Launch) -> tuple[Array, Array]:
        """Return the normalized input and the factor of the normalization."""
        raise NotImplementedError

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return the features."""
        return (tensors[self.input].shape[-1],)

    def count_flop(self, tensors: Tensors) -> int:
        return 4 * tensors[self.input].num_elements

    def evaluate(self, launch: Launch) -> Array:
        normalized, _ = self._normalized(launch)
        gradient = launch[self.gradient]
        return (gradient * normalized.reshape(gradient.shape)).sum(axis=0)


@dataclass(frozen=True, slots=True)
class BatchNormWeightGradient(_BatchNormGradient, OfNormWeight):
    """Compute the gradient of a `BatchNorm`'s weight: `result[f] = Σᵣ d[r, f] · x[r, f]`.

    d is the gradient, x the normalized input; two-dimensional.
    """

    gradient: ValueName
    input: ValueName
    epsilon: float
