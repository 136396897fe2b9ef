"""Functions of single elements, of one tensor or of two."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from onewafer.graph.operations.names import ParameterName, ValueName
from onewafer.graph.operations.operation import Operation


@dataclass(frozen=True, slots=True)
class Relu(Operation):
    """Replace negative elements by +0; whether −0 stays or becomes +0 is open."""

    input: ValueName


@dataclass(frozen=True, slots=True)
class Add(Operation):
    """Add two tensors of one shape (a residual connection)."""

    left: ValueName
    right: ValueName


@dataclass(frozen=True, slots=True)
class Multiply(Operation):
    """Multiply two tensors of one shape, element by element (a gate)."""

    left: ValueName
    right: ValueName


@dataclass(frozen=True, slots=True)
class ScaleFeatures(Operation):
    """Multiply every row by a vector of features, element by element."""

    input: ValueName
    factors: ParameterName
    """A parameter of shape (features,)."""


@dataclass(frozen=True, slots=True)
class Scale(Operation):
    """Multiply every element by a number."""

    input: ValueName
    factor: float


class ActivationFunction(StrEnum):
    """A function of one element; σ(x) = 1 / (1 + e⁻ˣ)."""

    SILU = "silu"
    """x · σ(x)"""
    GELU = "gelu"
    """x · (1 + erf(x / √2)) / 2"""
    GELU_TANH = "gelu_tanh"
    """x · (1 + tanh(√(2/π) · (x + 0.044715 · x³))) / 2"""
    SIGMOID = "sigmoid"
    """σ(x)"""
    TANH = "tanh"
    """tanh(x)"""


@dataclass(frozen=True, slots=True)
class Activation(Operation):
    """Apply a function to every element."""

    input: ValueName
    function: ActivationFunction
