"""Convolutions, pools and gates on feature maps."""

from __future__ import annotations

from dataclasses import dataclass

from onewafer.graph.operations.names import ParameterName, ValueName
from onewafer.graph.operations.operation import Operation
from onewafer.graph.window import Window


@dataclass(frozen=True, slots=True)
class Convolution(Operation):
    """Multiply the rows at the taps of a window by a weight each; two-dimensional, on maps.

    `result[p, o] = Σₜ Σᵢ input[tap t of p, i] · weight[t, o, i]`, over the taps inside the map.
    """

    input: ValueName
    weight: ParameterName
    """A parameter of shape (taps, out features, in features)."""
    window: Window


@dataclass(frozen=True, slots=True)
class DepthwiseConvolution(Operation):
    """Weigh each feature by itself over the taps of a window; two-dimensional, on maps.

    `result[p, f] = Σₜ input[tap t of p, f] · weight[t, f]`, over the taps inside the map.
    """

    input: ValueName
    weight: ParameterName
    """A parameter of shape (taps, features)."""
    window: Window


@dataclass(frozen=True, slots=True)
class MaxPool(Operation):
    """Take the largest of each feature over the taps of a window; two-dimensional, on maps."""

    input: ValueName
    window: Window
    """Every pixel of the result has a tap inside the map."""


@dataclass(frozen=True, slots=True)
class GlobalAveragePool(Operation):
    """Take the mean of all rows of each sample; two-dimensional, one row a sample."""

    input: ValueName
    rows: int
    """Rows of a sample: the pixels of its map."""


@dataclass(frozen=True, slots=True)
class ScaleFeatureMaps(Operation):
    """Multiply all rows of each sample by a row of factors (a gate); two-dimensional, on maps."""

    input: ValueName
    factors: ValueName
    """An input or a result of shape (samples, features)."""
    rows: int
    """Rows of a sample: the pixels of its map."""
