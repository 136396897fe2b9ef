"""Operations that bring the features of a row, or groups of them, to one scale."""

from __future__ import annotations

from dataclasses import dataclass

from onewafer.graph.operations.names import ParameterName, ValueName
from onewafer.graph.operations.operation import Operation


@dataclass(frozen=True, slots=True)
class RmsNorm(Operation):
    """Divide each group of features of a row by its root mean square, and scale it.

    For a group g of a row: `result[g] = input[g] / √(mean(input[g]²) + epsilon) · weight`.
    """

    input: ValueName
    weight: ParameterName
    """A parameter of shape (features / groups,), the same for all groups."""
    epsilon: float
    groups: int = 1
    """Groups of consecutive features of equal size: the heads, where each is normalised alone."""


@dataclass(frozen=True, slots=True)
class LayerNorm(Operation):
    """Give each group of features of a row mean 0 and variance 1, and scale and shift it.

    For a group g of n features of a row, with the variance over n:
    `result[g] = (input[g] − mean(input[g])) / √(variance(input[g]) + epsilon) · weight + bias`.
    """

    input: ValueName
    weight: ParameterName
    """A parameter of shape (features / groups,), the same for all groups."""
    bias: ParameterName
    """A parameter of shape (features / groups,), the same for all groups."""
    epsilon: float
    groups: int = 1
    """Groups of consecutive features of equal size: the heads, where each is normalised alone."""


@dataclass(frozen=True, slots=True)
class Softmax(Operation):
    """Make the features of each group of a row positive numbers whose sum is 1.

    For a group g of a row: `result[g] = exp(input[g] − max(input[g])) / Σ exp(input[g] − max)`.
    """

    input: ValueName
    groups: int = 1
    """Groups of consecutive features of equal size: the heads, where each has its own scores."""
