"""Element-wise functions of one tensor or of two."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from onewafer.graph.operations.checks import wrong_gradient, wrong_vector
from onewafer.graph.operations.dense import SumRows
from onewafer.graph.operations.layer_part import Place
from onewafer.graph.operations.names import ParameterName, ValueName
from onewafer.graph.operations.operation import Operation

if TYPE_CHECKING:
    from onewafer.graph.operations.launch import Array, Launch
    from onewafer.graph.operations.operation import Backward, Tensors

__all__ = [
    "Activation",
    "ActivationFunction",
    "ActivationGradient",
    "Add",
    "Exp",
    "Multiply",
    "OfElement",
    "Relu",
    "ReluGradient",
    "Scale",
    "ScaleFeatures",
    "Softplus",
    "SoftplusGradient",
]


class OfElement(Operation):
    """An element-wise function of one tensor."""

    __slots__ = ()

    places = Place.WITH_OPERAND | Place.IN_HEAD

    input: ValueName


@dataclass(frozen=True, slots=True)
class Relu(OfElement):
    """Replace negative elements by +0; −0 may stay −0 or become +0."""

    input: ValueName

    def evaluate(self, launch: Launch) -> Array:
        return np.maximum(launch[self.input], 0)

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        backward.give(self.input, ReluGradient, gradient, self.result.name)


@dataclass(frozen=True, slots=True)
class _OfElementGradient(Operation):
    """A product of a gradient with an element-wise function of a value."""

    gradient: ValueName
    value: ValueName
    """The input of the function; for a `Relu`, its input or its result."""

    def wrong_operand(self, tensors: Tensors) -> str | None:
        return wrong_gradient(tensors[self.gradient], tensors[self.value].shape)


@dataclass(frozen=True, slots=True)
class ReluGradient(_OfElementGradient):
    """Keep a gradient where the value is above 0, else 0."""

    def evaluate(self, launch: Launch) -> Array:
        return np.where(launch[self.value] > 0, launch[self.gradient], 0)


@dataclass(frozen=True, slots=True)
class _OfTwo(Operation):
    """An operation on two tensors of one shape."""

    left: ValueName
    right: ValueName

    def wrong_operand(self, tensors: Tensors) -> str | None:
        left, right = tensors[self.left].shape, tensors[self.right].shape
        if left != right:
            return f"the operands have shapes {left} and {right}, which must be equal"
        return None


@dataclass(frozen=True, slots=True)
class Add(_OfTwo):
    """Add two tensors of one shape (such as a residual connection)."""

    places = Place.JOINING

    def evaluate(self, launch: Launch) -> Array:
        return launch[self.left] + launch[self.right]

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        backward.pass_on(self.left, gradient)
        backward.pass_on(self.right, gradient)


@dataclass(frozen=True, slots=True)
class Multiply(_OfTwo):
    """Multiply two tensors of one shape, element by element (such as a gate)."""

    places = Place.JOINING | Place.IN_HEAD

    def evaluate(self, launch: Launch) -> Array:
        return launch[self.left] * launch[self.right]

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        backward.give(self.left, Multiply, gradient, self.right)
        backward.give(self.right, Multiply, gradient, self.left)


@dataclass(frozen=True, slots=True)
class ScaleFeatures(Operation):
    """Multiply every row by a vector, element by element."""

    places = Place.JOINING | Place.IN_HEAD

    input: ValueName
    factors: ParameterName
    """A parameter of shape (features,)."""

    def wrong_operand(self, tensors: Tensors) -> str | None:
        features = tensors[self.input].shape[-1]
        return wrong_vector("vector of factors", tensors[self.factors], features)

    def evaluate(self, launch: Launch) -> Array:
        return launch[self.input] * launch[self.factors]

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        backward.give(self.input, ScaleFeatures, gradient, self.factors)
        if backward.needs(self.factors):
            shape = backward.shape(self.input)
            product = backward.compute(
                f"{self.factors}.products", shape, Multiply, gradient, self.input
            )
            backward.give(self.factors, SumRows, product)


@dataclass(frozen=True, slots=True)
class Scale(Operation):
    """Multiply every element by a number."""

    places = Place.JOINING | Place.IN_HEAD

    input: ValueName
    factor: float

    def wrong_number(self) -> str | None:
        if not math.isfinite(self.factor):
            return f"the factor is {self.factor}, must be finite"
        return None

    def evaluate(self, launch: Launch) -> Array:
        return launch[self.input] * self.factor

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        backward.give(self.input, Scale, gradient, self.factor)


_SLOPE, _CUBIC = math.sqrt(2 / math.pi), 0.044715
"""The constants of `gelu_tanh`."""
_erf = np.vectorize(math.erf, otypes=[np.float64])


class ActivationFunction(StrEnum):
    """An activation function; σ(x) = 1 / (1 + e⁻ˣ)."""

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

    def apply(self, values: Array) -> Array:
        """Return the function of every element, as accurately as the type allows."""
        match self:
            case ActivationFunction.SIGMOID:
                return _sigmoid(values)
            case ActivationFunction.SILU:
                return values * _sigmoid(values)
            case ActivationFunction.TANH:
                return np.tanh(values)
            case ActivationFunction.GELU:
                return values * (1 + _erf(values / math.sqrt(2))) / 2
            case ActivationFunction.GELU_TANH:
                inner = _SLOPE * (values + _CUBIC * values**3)
                return values * (1 + np.tanh(inner)) / 2

    def derivative(self, values: Array) -> Array:
        """Return the derivative at every element, as accurately as the type allows."""
        match self:
            case ActivationFunction.SIGMOID:
                share = _sigmoid(values)
                return share * (1 - share)
            case ActivationFunction.SILU:
                share = _sigmoid(values)
                return share * (1 + values * (1 - share))
            case ActivationFunction.TANH:
                return 1 - np.tanh(values) ** 2
            case ActivationFunction.GELU:
                density = np.exp(-values * values / 2) / math.sqrt(2 * math.pi)
                return (1 + _erf(values / math.sqrt(2))) / 2 + values * density
            case ActivationFunction.GELU_TANH:
                level = np.tanh(_SLOPE * (values + _CUBIC * values**3))
                slope = _SLOPE * (1 + 3 * _CUBIC * values * values)
                return (1 + level + values * (1 - level * level) * slope) / 2


def _sigmoid(values: Array) -> Array:
    """Return 1 / (1 + e⁻ˣ) without overflow, computed from tanh."""
    return (1 + np.tanh(values / 2)) / 2


@dataclass(frozen=True, slots=True)
class Activation(OfElement):
    """Apply a function to every element."""

    input: ValueName
    function: ActivationFunction

    def evaluate(self, launch: Launch) -> Array:
        return self.function.apply(launch[self.input])

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        backward.give(self.input, ActivationGradient, gradient, self.input, self.function)


@dataclass(frozen=True, slots=True)
class ActivationGradient(_OfElementGradient):
    """Multiply a gradient by the derivative of an activation function at a value."""

    element_flop = 2
    """FLOP of the derivative and of the product."""

    function: ActivationFunction

    def evaluate(self, launch: Launch) -> Array:
        return launch[self.gradient] * self.function.derivative(launch[self.value])


@dataclass(frozen=True, slots=True)
class Exp(OfElement):
    """Return e to the power of every element."""

    input: ValueName

    def evaluate(self, launch: Launch) -> Array:
        return np.exp(launch[self.input])

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        backward.give(self.input, Multiply, gradient, self.result.name)


@dataclass(frozen=True, slots=True)
class Softplus(OfElement):
    """Return log(1 + e^(β · x)) / β of each element x, or x where β · x is above θ."""

    element_flop = 4
    """Scale, exponential, logarithm, scale."""

    input: ValueName
    beta: float = 1.0
    """β"""
    threshold: float = 20.0
    """θ, at least 0"""

    def wrong_number(self) -> str | None:
        return _wrong_softplus(self.beta, self.threshold)

    def evaluate(self, launch: Launch) -> Array:
        values = launch[self.input]
        scaled = values * self.beta
        return np.where(scaled > self.threshold, values, np.logaddexp(0, scaled) / self.beta)

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        numbers = self.beta, self.threshold
        backward.give(self.input, SoftplusGradient, gradient, self.input, *numbers)


@dataclass(frozen=True, slots=True)
class SoftplusGradient(_OfElementGradient):
    """Multiply a gradient by σ(β · x), or by 1 where β · x is above θ."""

    element_flop = 2
    """FLOP of the derivative and of the product."""

    beta: float = 1.0
    threshold: float = 20.0

    def wrong_number(self) -> str | None:
        return _wrong_softplus(self.beta, self.threshold)

    def evaluate(self, launch: Launch) -> Array:
        scaled = launch[self.value] * self.beta
        slopes = np.where(scaled > self.threshold, 1, _sigmoid(scaled))
        return launch[self.gradient] * slopes


def _wrong_softplus(beta: float, threshold: float) -> str | None:
    if not (math.isfinite(beta) and beta):
        return f"β is {beta}, must be finite and not 0"
    return None if threshold >= 0 else f"the threshold is {threshold}, must be at least 0"
