"""Group norms: norms of groups of features in each sample; a group may be one feature."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.graph.operations.batch_norms import OfNormWeight
from onewafer.graph.operations.checks import wrong_gradient, wrong_groups, wrong_vector
from onewafer.graph.operations.dense import SumRows
from onewafer.graph.operations.layer_part import LayerPart
from onewafer.graph.operations.names import PARAMETERS, ParameterName, ValueName, fields_with
from onewafer.graph.operations.samples import OfRows

if TYPE_CHECKING:
    from onewafer.graph.operations.launch import Array, Launch
    from onewafer.graph.operations.operation import Backward, Tensors

__all__ = ["GroupNorm", "GroupNormInputGradient", "GroupNormWeightGradient"]


class _GroupNorm(OfRows):
    """A group norm, or its gradient."""

    __slots__ = ()

    part = LayerPart.NORMS

    groups: int
    epsilon: float

    def wrong_number(self) -> str | None:
        wrong = OfRows.wrong_number(self)
        if wrong is None and not 0 < self.epsilon < math.inf:
            return f"epsilon is {self.epsilon}, must be positive"
        return wrong

    def wrong_operand(self, tensors: Tensors) -> str | None:
        wrong = OfRows.wrong_operand(self, tensors)
        if wrong is not None:
            return wrong
        features = tensors[self.input].shape[1]
        wrong = wrong_groups(features, self.groups)
        for field in fields_with(type(self), PARAMETERS):
            wrong = wrong or wrong_vector(field, tensors[getattr(self, field)], features)
        return wrong

    def _cut(self, values: Array) -> Array:
        """Return values as `[samples, rows, groups, features of a group]`."""
        return values.reshape(-1, self.rows, self.groups, values.shape[-1] // self.groups)

    def _normalized(self, launch: Launch) -> tuple[Array, Array]:
        """Return the normalized input as groups, and the factor of the normalization."""
        source, over = self._cut(launch[self.input]), (1, 3)
        scale = 1 / np.sqrt(source.var(axis=over, keepdims=True) + self.epsilon)
        return (source - source.mean(axis=over, keepdims=True)) * scale, scale


@dataclass(frozen=True, slots=True)
class GroupNorm(_GroupNorm):
    """Normalize each group of features in each sample, then scale and shift features.

    `result[r, f] = (input[r, f] − mean[s, g]) / √(variance[s, g] + epsilon) · weight[f] + bias[f]`
    for row r of sample s and feature f of group g, which is consecutive features; two-dimensional.
    """

    element_flop = 7
    """Sum, subtract the mean, square, sum; subtract the mean, scale, shift."""

    input: ValueName
    weight: ParameterName
    """A parameter of shape (features,)."""
    bias: ParameterName
    """A parameter of shape (features,)."""
    rows: int
    """Rows of a sample: the pixels of its map."""
    groups: int
    """The number of groups of equally many features."""
    epsilon: float

    def evaluate(self, launch: Launch) -> Array:
        source = launch[self.input]
        normalized = self._normalized(launch)[0].reshape(source.shape)
        return normalized * launch[self.weight] + launch[self.bias]

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        operands = gradient, self.input
        numbers = self.rows, self.groups, self.epsilon
        backward.give(self.input, GroupNormInputGradient, *operands, self.weight, *numbers)
        backward.give(self.weight, GroupNormWeightGradient, *operands, *numbers)
        backward.give(self.bias, SumRows, gradient)


class _GroupNormGradient(_GroupNorm):
    """A gradient of a `GroupNorm`."""

    __slots__ = ()

    gradient: ValueName

    def wrong_operand(self, tensors: Tensors) -> str | None:
        wrong = wrong_gradient(tensors[self.gradient], tensors[self.input].shape)
        return wrong or _GroupNorm.wrong_operand(self, tensors)


@dataclass(frozen=True, slots=True)
class GroupNormInputGradient(_GroupNormGradient):
    """Compute the gradient of the input of a `GroupNorm`; two-dimensional.

    With x the normalized input, d the gradient times the weight and s = 1 / √(variance + epsilon):
    `result = s · (d − mean(d) − x · mean(d · x))`, with means over the group in the sample.
    """

    element_flop = 8

    gradient: ValueName
    input: ValueName
    weight: ParameterName
    rows: int
    groups: int
    epsilon: float

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        return tensors[self.input].shape

    def evaluate(self, launch: Launch) -> Array:
        normalized, scale = self._normalized(launch)
        gradient, over = self._cut(launch[self.gradient] * launch[self.weight]), (1, 3)
        slope = (gradient * normalized).mean(axis=over, keepdims=True)
        means = gradient.mean(axis=over, keepdims=True) + normalized * slope
        return (scale * (gradient - means)).reshape(launch[self.input].shape)


@dataclass(frozen=True, slots=True)
class GroupNormWeightGradient(_GroupNormGradient, OfNormWeight):
    """Compute the gradient of a `GroupNorm`'s weight: `result[f] = Σᵣ d[r, f] · x[r, f]`.

    d is the gradient, x the normalized input; two-dimensional.
    """

    gradient: ValueName
    input: ValueName
    rows: int
    groups: int
    epsilon: float
