"""Matrix products of rows with a weight, and biases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.graph.operations.checks import MATRIX, wrong_gradient, wrong_groups, wrong_vector
from onewafer.graph.operations.layer_part import Place
from onewafer.graph.operations.names import ParameterName, ValueName
from onewafer.graph.operations.operation import Operation

if TYPE_CHECKING:
    from onewafer.graph.operations.launch import Array, Launch
    from onewafer.graph.operations.operation import Backward, Tensors

__all__ = ["AddBias", "Linear", "LinearInputGradient", "LinearWeightGradient", "SumRows"]


@dataclass(frozen=True, slots=True)
class Linear(Operation):
    """Multiply by a transposed weight: `result = input @ weight.T`."""

    places = Place.BEFORE_ATTENTION | Place.AFTER_ATTENTION | Place.IN_MLP | Place.IN_HEAD
    is_product = True

    input: ValueName
    weight: ParameterName
    """A parameter of shape (out features, in features)."""

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return the rows of the input with the out features of the weight."""
        return (*tensors[self.input].shape[:-1], tensors[self.weight].shape[0])

    def wrong_operand(self, tensors: Tensors) -> str | None:
        weight, features = tensors[self.weight].shape, tensors[self.input].shape[-1]
        if len(weight) != MATRIX or weight[1] != features:
            return f"the weight has shape {weight}, must be (out features, {features})"
        return None

    def count_flop(self, tensors: Tensors) -> int:
        return 2 * self.result.num_elements * tensors[self.input].shape[-1]

    def evaluate(self, launch: Launch) -> Array:
        return launch[self.input] @ launch[self.weight].T

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        backward.give(self.input, LinearInputGradient, gradient, self.weight)
        backward.give(self.weight, LinearWeightGradient, gradient, self.input)


@dataclass(frozen=True, slots=True)
class LinearInputGradient(Operation):
    """Multiply by a weight: `result = gradient @ weight`."""

    is_product = True

    gradient: ValueName
    """Shape (…, out features)."""
    weight: ParameterName
    """A parameter of shape (out features, in features)."""

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return the rows of the gradient with the in features of the weight."""
        return (*tensors[self.gradient].shape[:-1], tensors[self.weight].shape[-1])

    def wrong_operand(self, tensors: Tensors) -> str | None:
        weight, gradient = tensors[self.weight].shape, tensors[self.gradient]
        if len(weight) != MATRIX:
            return f"the weight has shape {weight}, must be (out features, in features)"
        return wrong_gradient(gradient, (*gradient.shape[:-1], weight[0]))

    def count_flop(self, tensors: Tensors) -> int:
        return 2 * self.result.num_elements * tensors[self.gradient].shape[-1]

    def evaluate(self, launch: Launch) -> Array:
        return launch[self.gradient] @ launch[self.weight]


@dataclass(frozen=True, slots=True)
class LinearWeightGradient(Operation):
    """Sum products over all rows: `result[o, i] = Σᵣ gradient[r, o] · input[r, i]`."""

    is_product = True

    gradient: ValueName
    """Shape (…, out features)."""
    input: ValueName
    """Shape (…, in features)."""

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        return (tensors[self.gradient].shape[-1], tensors[self.input].shape[-1])

    def wrong_operand(self, tensors: Tensors) -> str | None:
        gradient = tensors[self.gradient]
        rows = tensors[self.input].shape[:-1]
        return wrong_gradient(gradient, (*rows, gradient.shape[-1]))

    def count_flop(self, tensors: Tensors) -> int:
        return 2 * tensors[self.gradient].num_elements * self.result.shape[-1]

    def evaluate(self, launch: Launch) -> Array:
        gradient, rows = (launch[name] for name in self.activation_operands)
        return gradient.reshape(-1, gradient.shape[-1]).T @ rows.reshape(-1, rows.shape[-1])


@dataclass(frozen=True, slots=True)
class AddBias(Operation):
    """Add a vector to every row."""

    places = Place.JOINING | Place.IN_HEAD

    input: ValueName
    bias: ParameterName
    """A parameter of shape (features,)."""

    def wrong_operand(self, tensors: Tensors) -> str | None:
        return wrong_vector("bias", tensors[self.bias], tensors[self.input].shape[-1])

    def evaluate(self, launch: Launch) -> Array:
        return launch[self.input] + launch[self.bias]

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        backward.pass_on(self.input, gradient)
        backward.give(self.bias, SumRows, gradient)


@dataclass(frozen=True, slots=True)
class SumRows(Operation):
    """Sum all rows, and the groups of features in them: `result[i] = Σᵣ Σ_g input[r, g, i]`."""

    input: ValueName
    groups: int = 1
    """Groups of consecutive features of equal size."""

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return the features of a group."""
        return (tensors[self.input].shape[-1] // self.groups,)

    def wrong_operand(self, tensors: Tensors) -> str | None:
        return wrong_groups(tensors[self.input].shape[-1], self.groups)

    def count_flop(self, tensors: Tensors) -> int:
        return tensors[self.input].num_elements

    def evaluate(self, launch: Launch) -> Array:
        rows = launch[self.input]
        return rows.reshape(-1, rows.shape[-1] // self.groups).sum(axis=0)
