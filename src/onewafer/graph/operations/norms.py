"""Norms and softmax over the features of a row, or groups of them."""

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
"""For each element: maximum, subtract it, exponential, sum, divide; a score: scale, not divide."""


class _Norm(Operation):
    """An operation on each group of features separately; its parameters are vectors."""

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
    """The number of groups of consecutive features: the heads, if each is normalized separately."""

    def evaluate(self, launch: Launch) -> Array:
        groups = _groups(launch[self.input], self.groups)
        square = (groups * groups).mean(axis=-1, keepdims=True)
        scaled = groups / np.sqrt(square + self.epsilon) * _like(launch[self.weight], groups)
        return scaled.reshape(launch[self.input].shape)

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        numbers = self.epsilon, self.groups
        operands = gradient, self.input
        is_shared = backward.shape(self.weight) != backward.shape(self.input)[-1:]
        backward.give(self.input, RmsNormInputGradient, *operands, self.weight, *numbers)
        backward.give(self.weight, RmsNormWeightGradient, *operands, *numbers, is_shared)


@dataclass(frozen=True, slots=True)
class LayerNorm(_Norm):
    """Normalize each group of features of a row to mean 0 and variance 1, then scale and shift it.

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
    """The number of groups of consecutive features: the heads, if each is normalized separately."""

    def evaluate(self, launch: Launch) -> Array:
        groups = _groups(launch[self.input], self.groups)
        centred = groups - groups.mean(axis=-1, keepdims=True)
        variance = (centred * centred).mean(axis=-1, keepdims=True)
        weight, bias = (_like(launch[name], groups) for name in (self.weight, self.bias))
        scaled = centred / np.sqrt(variance + self.epsilon) * weight
        return (scaled + bias).reshape(launch[self.input].shape)

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        numbers = self.epsilon, self.groups
        operands = gradient, self.input
        features = backward.shape(self.input)[-1:]
        is_shared = backward.shape(self.weight) != features
        backward.give(self.input, LayerNormInputGradient, *operands, self.weight, *numbers)
        backward.give(self.weight, LayerNormWeightGradient, *operands, *numbers, is_shared)
        groups = 1 if backward.shape(self.bias) == features else self.groups
        backward.give(self.bias, SumRows, gradient, groups)


class _NormGradient(_Norm):
    """A gradient of a norm."""

    __slots__ = ()

    part = None
    _is_centred: ClassVar[bool]
    """True if the norm subtracts the mean of each group first."""

    gradient: ValueName

    def wrong_operand(self, tensors: Tensors) -> str | None:
        wrong = _Norm.wrong_operand(self, tensors)
        return wrong or wrong_gradient(tensors[self.gradient], tensors[self.input].shape)

    def _normalised(self, launch: Launch) -> tuple[Array, Array]:
        """Return the normalized groups of the input, and the factors of the normalization."""
        groups = _groups(launch[self.input], self.groups)
        if self._is_centred:
            groups = groups - groups.mean(axis=-1, keepdims=True)
        factors = 1 / np.sqrt((groups * groups).mean(axis=-1, keepdims=True) + self.epsilon)
        return groups * factors, factors


@dataclass(frozen=True, slots=True)
class _NormInputGradient(_NormGradient):
    """The gradient of the input: without its components along scale and mean of each group."""

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
    """Compute the gradient of the input of an `RmsNorm`.

    For a group g, with n the normalized input, f its factor 1 / √(mean(input[g]²) + epsilon), and d
    = gradient[g] · weight: `result[g] = f · (d − n · mean(d · n))`.
    """

    element_flop = 9
    """Square, sum, scale, weight, product, sum, scale, subtract, scale."""
    _is_centred = False


@dataclass(frozen=True, slots=True)
class LayerNormInputGradient(_NormInputGradient):
    """Compute the gradient of the input of a `LayerNorm`.

    For a group g, with n the normalized input, f its factor 1 / √(variance(input[g]) + epsilon),
    and d = gradient[g] · weight: `result[g] = f · (d − mean(d) − n · mean(d · n))`.
    """

    element_flop = 13
    """Mean, subtract, square, sum, scale, weight, product, two sums, scale, subtract two, scale."""
    _is_centred = True


@dataclass(frozen=True, slots=True)
class _NormWeightGradient(_NormGradient):
    """A sum of gradient times normalized input over rows, and over groups that share a weight."""

    gradient: ValueName
    input: ValueName
    epsilon: float
    groups: int = 1
    """Groups of consecutive features of equal size."""
    is_shared: bool = True
    """True if all groups have the same weight, so that the sum includes them."""

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return the features of a group if groups share the weight, else all."""
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
    """Compute the gradient of the weight of an `RmsNorm`: `result = Σ gradient[g] · n`.

    The sum is over all rows, and all groups g that share a weight, with n the normalized input.
    """

    element_flop = 5
    """Square, sum, scale, product, sum."""
    _is_centred = False


@dataclass(frozen=True, slots=True)
class LayerNormWeightGradient(_NormWeightGradient):
    """Compute the gradient of the weight of a `LayerNorm`: `result = Σ gradient[g] · n`.

    The sum is over all rows, and all groups g that share a weight, with n the normalized input.
    """

    element_flop = 7
    """Sum, subtract, square, sum, scale, product, sum."""
    _is_centred = True


@dataclass(frozen=True, slots=True)
class Softmax(Operation):
    """Softmax over each group of features of a row.

    For a group g of a row: `result[g] = exp(input[g] − max(input[g])) / Σ exp(input[g] − max)`.
    """

    places = Place.BEFORE_ATTENTION | Place.WITH_OPERAND
    element_flop = SOFTMAX_FLOP

    input: ValueName
    groups: int = 1
    """The number of groups of consecutive features: the heads, if each has its own scores."""

    def wrong_operand(self, tensors: Tensors) -> str | None:
        return wrong_groups(tensors[self.input].shape[-1], self.groups)

    def evaluate(self, launch: Launch) -> Array:
        groups = _groups(launch[self.input], self.groups)
        weights = np.exp(groups - groups.max(axis=-1, keepdims=True))
        return (weights / weights.sum(axis=-1, keepdims=True)).reshape(launch[self.input].shape)

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        backward.give(self.input, SoftmaxGradient, gradient, self.result.name, self.groups)


@dataclass(frozen=True, slots=True)
class SoftmaxGradient(Operation):
    """Compute the gradient of the input of a `Softmax` from its result, `shares`.

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
    """Return a vector as `[groups or 1, features of a group]`, which broadcasts over groups."""
    return vector.reshape(-1, groups.shape[-1])


def _groups(rows: Array, count: int) -> Array:
    """Return rows as groups of features: `[…, groups, features of a group]`."""
    return rows.reshape(*rows.shape[:-1], count, -1)
