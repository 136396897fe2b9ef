"""Operations that bring the features of a row, or groups of them, to one scale."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.graph.operations.checks import wrong_groups, wrong_vector
from onewafer.graph.operations.layer_part import LayerPart, Place
from onewafer.graph.operations.names import PARAMETERS, ParameterName, ValueName, fields_with
from onewafer.graph.operations.operation import Operation

if TYPE_CHECKING:
    from onewafer.graph.operations.launch import Array, Launch
    from onewafer.graph.operations.operation import Tensors

__all__ = ["LayerNorm", "RmsNorm", "Softmax"]

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
        """Return what is wrong with its numbers; None if nothing is."""
        if not 0 < self.epsilon < math.inf:
            return f"epsilon is {self.epsilon}, must be positive"
        return None

    def wrong_operand(self, tensors: Tensors) -> str | None:
        """Return what is wrong with the shapes of its operands; None if nothing is."""
        features = tensors[self.input].shape[-1]
        wrong = wrong_groups(features, self.groups)
        for field in fields_with(type(self), PARAMETERS):
            vector = tensors[getattr(self, field)]
            wrong = wrong or wrong_vector(field, vector, features // self.groups)
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
    """A parameter of shape (features / groups,), the same for all groups."""
    epsilon: float
    groups: int = 1
    """Groups of consecutive features of equal size: the heads, where each is normalised alone."""

    def evaluate(self, launch: Launch) -> Array:
        """Return its result in a launch."""
        groups = _groups(launch[self.input], self.groups)
        square = (groups * groups).mean(axis=-1, keepdims=True)
        scaled = groups / np.sqrt(square + self.epsilon) * launch[self.weight]
        return scaled.reshape(launch[self.input].shape)


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
    """A parameter of shape (features / groups,), the same for all groups."""
    bias: ParameterName
    """A parameter of shape (features / groups,), the same for all groups."""
    epsilon: float
    groups: int = 1
    """Groups of consecutive features of equal size: the heads, where each is normalised alone."""

    def evaluate(self, launch: Launch) -> Array:
        """Return its result in a launch."""
        groups = _groups(launch[self.input], self.groups)
        centred = groups - groups.mean(axis=-1, keepdims=True)
        variance = (centred * centred).mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt(variance + self.epsilon) * launch[self.weight]
        return (scaled + launch[self.bias]).reshape(launch[self.input].shape)


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
        """Return what is wrong with the shapes of its operands; None if nothing is."""
        return wrong_groups(tensors[self.input].shape[-1], self.groups)

    def evaluate(self, launch: Launch) -> Array:
        """Return its result in a launch."""
        groups = _groups(launch[self.input], self.groups)
        weights = np.exp(groups - groups.max(axis=-1, keepdims=True))
        return (weights / weights.sum(axis=-1, keepdims=True)).reshape(launch[self.input].shape)


def _groups(rows: Array, count: int) -> Array:
    """Return rows as groups of features: `[…, groups, features of a group]`."""
    return rows.reshape(*rows.shape[:-1], count, -1)
