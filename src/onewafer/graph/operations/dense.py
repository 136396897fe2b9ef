"""Matrix products of rows with a weight, and what is added to them."""

from __future__ import annotations

from dataclasses import dataclass

from onewafer.graph.operations.names import ParameterName, ValueName
from onewafer.graph.operations.operation import Operation


@dataclass(frozen=True, slots=True)
class Linear(Operation):
    """Multiply by a transposed weight: `result = input @ weight.T`."""

    input: ValueName
    weight: ParameterName
    """A parameter of shape (out features, in features)."""


@dataclass(frozen=True, slots=True)
class AddBias(Operation):
    """Add a vector of features to every row."""

    input: ValueName
    bias: ParameterName
    """A parameter of shape (features,)."""
