"""Operations that bring the features of a row, or groups of them, to one scale."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from onewafer.graph.operations.checks import wrong_gradient, wrong_groups, wrong_vector
from onewafer.graph.operations.dense import SumRows
from onewafer.graph.operations.layer_part import LayerPart, Place
from onewafer.graph.operations.names import PARAMETERS, ParameterName, ValueName, fields_with
from onewafer.graph.operations.operation import Operation

if TYPE_CHECKING:
    from onewafer.graph.operations.launch import Array, Launch
    from onewafer.graph.operations.operation import Backward, Tensors

__all__ = [
    "LayerNorm",
    "LayerNormInputGradient",
    "LayerNormWeightGradient",
    "RmsNorm",
    "RmsNormInputGradient",
    "RmsNormWeightGradient",
    "Softmax",
    "SoftmaxGradient",
]

SOFTMAX_FLOP = 5
"""An element: maximum, subtract it, exponential, sum, divide; a score: scale, not divide."""


class _Norm(Operation):
    """An operation on each group of features alone; its parameters are vectors for a group."""

    __slots__ = ()

    part = LayerPart.NORMS

    input: ValueName
    epsilon: float
    groups: int

    def wrong_number(self) -> str | None:
        if not 0 < self.epsilon < math.inf:
            return f"epsilon is {self.epsilon}, must be positive"
        return None

    def wrong_operand(self, tensors: Tensors) -> str | None:
        features = tensors[self.input].shape[-1]
        wrong = wrong_groups(features, self.groups)
        for field in fields_with(type(self), PARAMETERS):
            vector = tensors[getattr(self, field)]
            size = features if vector.shape == (features,) else features // self.groups
            wrong = wrong or wrong_vector(field, vector, size)
        return wrong


@dataclass(frozen=True, slots=True)
class RmsNorm(_Norm):
    """Divide each group of features of a row by its root mean square, and scale it.

    For a group g of a row: `result[g] = input[g] / √(mean(input[g]²) + epsilon) · weight`.
    """

    element_flop = 4
    """Square, sum, scale by the row's factor, weight."""

    input: ValueName
    weight: ParameterName
    """A parameter of shape (features / groups,), the same for all groups, or (features,)."""
    epsilon: float
    groups: int = 1
    """Groups of consecutive features of equal size: the heads, where each is normalised alone."""

    def evaluate(self, launch: Launch) -> Array:
        groups = _groups(launch[self.input], self.groups)
        square = (groups * groups).mean(axis=-1, keepdims=True)
        scaled = groups / np.sqrt(square + self.epsilon) * _like(launch[self.weight], groups)
        return scaled.reshape(launch[self.input].shape)

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        """Add what the scale of each group, and the weight, are responsible for."""
        numbers = self.epsilon, self.groups
        operands = gradient, self.input
        is_shared = backward.shape(self.weight) != backward.shape(self.input)[-1:]
        backward.give(self.input, RmsNormInputGradient, *operands, self.weight, *numbers)
        backward.give(self.weight, RmsNormWeightGradient, *operands, *numbers, is_shared)


@dataclass(frozen=True, slots=True)
class LayerNorm(_Norm):
    """Give each group of features of a row mean 0 and variance 1, and scale and shift it.

    For a group g of n features of a row, with the variance over n:
    `result[g] = (input[g] − mean(input[g])) / √(variance(input[g]) + epsilon) · weight + bias`.
    """

    element_flop = 7
    """Sum, subtract the mean, square, sum, scale by the row's factor, weight, bias."""

    input: ValueName
    weight: ParameterName
    """A parameter of shape (features / groups,), the same for all groups, or (features,)."""
    bias: ParameterName
    """A parameter of shape (features / groups,), the same for all groups, or (features,)."""
    epsilon: float
    groups: int = 1
    """Groups of consecutive features of equal size: the heads, where each is normalised alone."""

    def evaluate(self, launch: Launch) -> Array:
        groups = _groups(launch[self.input], self.groups)
        centred = groups - groups.mean(axis=-1, keepdims=True)
        variance = (centred * centred).mean(axis=-1, keepdims=True)
        weight, bias = (_like(launch[name], groups) for name in (self.weight, self.bias))
        scaled = centred / np.sqrt(variance + self.epsilon) * weight
        return (scaled + bias).reshape(launch[self.input].shape)

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        """Add what mean and scale of each group, weight and bias are responsible for."""
        numbers = self.epsilon, self.groups
        operands = gradient, self.input
        features = backward.shape(self.input)[-1:]
        is_shared = backward.shape(self.weight) != features
        backward.give(self.input, LayerNormInputGradient, *operands, self.weight, *numbers)
        backward.give(self.weight, LayerNormWeightGradient, *operands, *numbers, is_shared)
        groups = 1 if backward.shape(self.bias) == features else self.groups
        backward.give(self.bias, SumRows, gradient, groups)


class _NormGradient(_Norm):
    """An operation on each group of a gradient, and of what was normalised."""

    __slots__ = ()

    part = None
    _is_centred: ClassVar[bool]
    """True if the mean of each group is taken from it first."""

    gradient: ValueName

    def wrong_operand(self, tensors: Tensors) -> str | None:
        wrong = _Norm.wrong_operand(self, tensors)
        return wrong or wrong_gradient(tensors[self.gradient], tensors[self.input].shape)

    def _normalised(self, launch: Launch) -> tuple[Array, Array]:
        """Return the groups of the input, brought to one scale, and the factors that did it."""
        groups = _groups(launch[self.input], self.groups)
        if self._is_centred:
            groups = groups - groups.mean(axis=-1, keepdims=True)
        factors = 1 / np.sqrt((groups * groups).mean(axis=-1, keepdims=True) + self.epsilon)
        return groups * factors, factors


@dataclass(frozen=True, slots=True)
class _NormInputGradient(_NormGradient):
    """The gradient of the input, less the parts along the mean and the scale of each group."""

    gradient: ValueName
    input: ValueName
    weight: ParameterName
    """A parameter of shape (features / groups,), the same for all groups, or (features,)."""
    epsilon: float
    groups: int = 1
    """Groups of consecutive features of equal size."""

    def evaluate(self, launch: Launch) -> Array:
        normalised, factors = self._normalised(launch)
        gradient = _groups(launch[self.gradient], self.groups)
        weighted = gradient * _like(launch[self.weight], gradient)
        along = normalised * (weighted * normalised).mean(axis=-1, keepdims=True)
        if self._is_centred:
            weighted = weighted - weighted.mean(axis=-1, keepdims=True)
        return ((weighted - along) * factors).reshape(launch[self.input].shape)


@dataclass(frozen=True, slots=True)
class RmsNormInputGradient(_NormInputGradient):
    """Give the gradient of the input of an `RmsNorm`.

    For a group g, with n the normalised input, f its factor 1 / √(mean(input[g]²) + epsilon), and d
    = gradient[g] · weight: `result[g] = f · (d − n · mean(d · n))`.
    """

    element_flop = 9
    """Square, sum, scale, weight, product, sum, scale, subtract, scale."""
    _is_centred = False


@dataclass(frozen=True, slots=True)
class LayerNormInputGradient(_NormInputGradient):
    """Give the gradient of the input of a `LayerNorm`.

    For a group g, with n the normalised input, f its factor 1 / √(variance(input[g]) + epsilon),
    and d = gradient[g] · weight: `result[g] = f · (d − mean(d) − n · mean(d · n))`.
    """

    element_flop = 13
    """Mean, subtract, square, sum, scale, weight, product, two sums, scale, subtract two, scale."""
    _is_centred = True


@dataclass(frozen=True, slots=True)
class _NormWeightGradient(_NormGradient):
    """A sum over rows of products of a gradient with what was normalised; and over groups."""

    gradient: ValueName
    input: ValueName
    epsilon: float
    groups: int = 1
    """Groups of consecutive features of equal size."""
    is_shared: bool = True
    """True if all groups have the same weight: the sum runs over them, too."""

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return the features of a group, or all."""
        return (tensors[self.input].shape[-1] // (self.groups if self.is_shared else 1),)

    def count_flop(self, tensors: Tensors) -> int:
        return self.element_flop * tensors[self.input].num_elements

    def evaluate(self, launch: Launch) -> Array:
        normalised, _ = self._normalised(launch)
        products = _groups(launch[self.gradient], self.groups) * normalised
        features = products.shape[-1] * (1 if self.is_shared else self.groups)
        return products.reshape(-1, features).sum(axis=0)


@dataclass(frozen=True, slots=True)
class RmsNormWeightGradient(_NormWeightGradient):
    """Give the gradient of the weight of an `RmsNorm`: `result = Σ gradient[g] · n`.

    The sum runs over all rows, and all groups g that share a weight, with n the normalised input.
    """

    element_flop = 5
    """Square, sum, scale, product, sum."""
    _is_centred = False


@dataclass(frozen=True, slots=True)
class LayerNormWeightGradient(_NormWeightGradient):
    """Give the gradient of the weight of a `LayerNorm`: `result = Σ gradient[g] · n`.

    The sum runs over all rows, and all groups g that share a weight, with n the normalised input.
    """

    element_flop = 7
    """Sum, subtract, square, sum, scale, product, sum."""
    _is_centred = True


@dataclass(frozen=True, slots=True)
class Softmax(Operation):
    """Make the features of each group of a row positive numbers whose sum is 1.

    For a group g of a row: `result[g] = exp(input[g] − max(input[g])) / Σ exp(input[g] − max)`.
    """

    places = Place.BEFORE_ATTENTION | Place.WITH_OPERAND
    element_flop = SOFTMAX_FLOP

    input: ValueName
    groups: int = 1
    """Groups of consecutive features of equal size: the heads, where each has its own scores."""

    def wrong_operand(self, tensors: Tensors) -> str | None:
        return wrong_groups(tensors[self.input].shape[-1], self.groups)

    def evaluate(self, launch: Launch) -> Array:
        groups = _groups(launch[self.input], self.groups)
        weights = np.exp(groups - groups.max(axis=-1, keepdims=True))
        return (weights / weights.sum(axis=-1, keepdims=True)).reshape(launch[self.input].shape)

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        """Add the gradient, less what the sum of each group takes, times the result."""
        backward.give(self.input, SoftmaxGradient, gradient, self.result.name, self.groups)


@dataclass(frozen=True, slots=True)
class SoftmaxGradient(Operation):
    """Give the gradient of the input of a `Softmax` from its result, the shares.

    For a group g of a row: `result[g] = shares[g] · (gradient[g] − Σ gradient[g] · shares[g])`.
    """

    element_flop = 4
    """Product, sum, subtract, product."""

    gradient: ValueName
    shares: ValueName
    groups: int = 1
    """Groups of consecutive features of equal size."""

    def wrong_operand(self, tensors: Tensors) -> str | None:
        shape = tensors[self.shares].shape
        wrong = wrong_groups(shape[-1], self.groups)
        return wrong or wrong_gradient(tensors[self.gradient], shape)

    def evaluate(self, launch: Launch) -> Array:
        gradient, shares = (_groups(launch[n], self.groups) for n in self.activation_operands)
        inner = (gradient * shares).sum(axis=-1, keepdims=True)
        return (shares * (gradient - inner)).reshape(launch[self.shares].shape)


def _like(vector: Array, groups: Array) -> Array:
    """Return the vector of each of some groups, or of all of them."""
    return vector.reshape(-1, groups.shape[-1])


def _groups(rows: Array, count: int) -> Array:
    """Return rows as groups of features: `[…, groups, features of a group]`."""
    return rows.reshape(*rows.shape[:-1], count, -1)
