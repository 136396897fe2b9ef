"""Matrix products of rows with a weight, and what is added to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.graph.operations.checks import MATRIX, wrong_vector
from onewafer.graph.operations.layer_part import Place
from onewafer.graph.operations.names import ParameterName, ValueName
from onewafer.graph.operations.operation import Operation

if TYPE_CHECKING:
    from onewafer.graph.operations.launch import Array, Launch
    from onewafer.graph.operations.operation import Tensors

__all__ = ["AddBias", "Linear"]


@dataclass(frozen=True, slots=True)
class Linear(Operation):
    """Multiply by a transposed weight: `result = input @ weight.T`."""

    places = Place.BEFORE_ATTENTION | Place.AFTER_ATTENTION | Place.IN_MLP | Place.IN_HEAD
    is_product = True

    input: ValueName
    weight: ParameterName
    """A parameter of shape (out features, in features)."""

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return the rows of the input with the features of the weight."""
        return (*tensors[self.input].shape[:-1], tensors[self.weight].shape[0])

    def wrong_operand(self, tensors: Tensors) -> str | None:
        """Return what is wrong with the shapes of its operands; None if nothing is."""
        weight, features = tensors[self.weight].shape, tensors[self.input].shape[-1]
        if len(weight) != MATRIX or weight[1] != features:
            return f"the weight has shape {weight}, must be (out features, {features})"
        return None

    def count_flop(self, tensors: Tensors) -> int:
        """Return the floating point operations of a launch."""
        return 2 * self.result.num_elements * tensors[self.input].shape[-1]

    def evaluate(self, launch: Launch) -> Array:
        """Return its result in a launch."""
        return launch[self.input] @ launch[self.weight].T


@dataclass(frozen=True, slots=True)
class AddBias(Operation):
    """Add a vector of features to every row."""

    places = Place.JOINING | Place.IN_HEAD

    input: ValueName
    bias: ParameterName
    """A parameter of shape (features,)."""

    def wrong_operand(self, tensors: Tensors) -> str | None:
        """Return what is wrong with the shapes of its operands; None if nothing is."""
        return wrong_vector("bias", tensors[self.bias], tensors[self.input].shape[-1])

    def evaluate(self, launch: Launch) -> Array:
        """Return its result in a launch."""
        return launch[self.input] + launch[self.bias]
