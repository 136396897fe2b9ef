"""The largest elements of rows, elements at indices, and concatenation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.graph.operations.checks import wrong_gradient
from onewafer.graph.operations.layer_part import Place
from onewafer.graph.operations.names import IndexName, ValueName
from onewafer.graph.operations.operation import Operation

if TYPE_CHECKING:
    from onewafer.graph.operations.launch import Array, Launch
    from onewafer.graph.operations.operation import Backward, Tensors
    from onewafer.graph.tensor import Tensor

__all__ = ["Concatenate", "Gather", "GatherGradient", "SliceFeatures", "TopIndices"]


@dataclass(frozen=True, slots=True)
class TopIndices(Operation):
    """Find the indices of the largest features of each row, the largest first.

    Of equal features (−0 equals +0) the first index comes first; NaN is above all numbers. The
    result has type i32, shape (…, count); all other operations compute floating-point numbers.
    """

    places = Place.IN_HEAD
    gives_indices = True

    input: ValueName
    count: int
    """The number of indices for each row; 1 is the argmax."""

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return the rows of the input with `count` columns."""
        return (*tensors[self.input].shape[:-1], self.count)

    def wrong_operand(self, tensors: Tensors) -> str | None:
        features = tensors[self.input].shape[-1]
        if not 1 <= self.count <= features:
            return f"it finds {self.count} of {features} features; use 1 to {features}"
        return None

    def count_flop(self, tensors: Tensors) -> int:
        """Return the comparisons of the search."""
        return tensors[self.input].num_elements

    def evaluate(self, launch: Launch) -> Array:
        values = launch[self.input]
        if self.count == 1:
            return values.argmax(axis=-1, keepdims=True)
        order = np.lexsort((-values, ~np.isnan(values)))  # stable; the last key comes first
        return order[..., : self.count]


@dataclass(frozen=True, slots=True)
class Gather(Operation):
    """Gather features of each row: `result[…, j] = input[…, indices[…, j]]`."""

    places = Place.IN_HEAD
    element_flop = 0

    input: ValueName
    indices: IndexName
    """Type i32, with a row for each row of the input; an invalid index is a bug."""

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return the shape of the indices."""
        return tensors[self.indices].shape

    def wrong_operand(self, tensors: Tensors) -> str | None:
        rows, wanted = (tensors[name].shape[:-1] for name in (self.input, self.indices))
        if rows != wanted:
            return f"there are indices for rows {wanted}, and the input has rows {rows}"
        return None

    def read_activations(self, tensors: Tensors) -> tuple[Tensor, ...]:
        """Return the elements that it takes, and their indices."""
        return (self.result, tensors[self.indices])

    def evaluate(self, launch: Launch) -> Array:
        return np.take_along_axis(launch[self.input], launch[self.indices], -1)

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        operands = gradient, self.indices
        if backward.needs(self.input):
            backward.give(self.input, GatherGradient, *operands, backward.shape(self.input)[-1])


@dataclass(frozen=True, slots=True)
class GatherGradient(Operation):
    """Sum gradients by feature: `result[…, i] = Σⱼ gradient[…, j]` where `indices[…, j] = i`."""

    gradient: ValueName
    indices: IndexName
    """Type i32, of the shape of the gradient."""
    features: int
    """Features of the result."""

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return the rows of the gradient with all features."""
        return (*tensors[self.gradient].shape[:-1], self.features)

    def wrong_operand(self, tensors: Tensors) -> str | None:
        return wrong_gradient(tensors[self.gradient], tensors[self.indices].shape)

    def count_flop(self, tensors: Tensors) -> int:
        """Return the additions."""
        return tensors[self.gradient].num_elements

    def evaluate(self, launch: Launch) -> Array:
        gradient, indices = launch[self.gradient], launch[self.indices]
        result = np.zeros((*gradient.shape[:-1], self.features), gradient.dtype)
        rows = result.reshape(-1, self.features)
        where = np.arange(len(rows))[:, np.newaxis]
        width = gradient.shape[-1]
        np.add.at(rows, (where, indices.reshape(-1, width)), gradient.reshape(-1, width))
        return result


@dataclass(frozen=True, slots=True)
class Concatenate(Operation):
    """Concatenate the features of several tensors in each row."""

    places = Place.JOINING | Place.IN_HEAD
    element_flop = 0

    inputs: tuple[ValueName, ...]
    """At least one tensor."""

    def wrong_number(self) -> str | None:
        return None if self.inputs else "it has no operands"

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return the rows of the first tensor with the features of all."""
        shapes = [tensors[name].shape for name in self.inputs]
        return (*shapes[0][:-1], sum(shape[-1] for shape in shapes))

    def wrong_operand(self, tensors: Tensors) -> str | None:
        rows = {tensors[name].shape[:-1] for name in self.inputs}
        if len(rows) > 1:
            return f"the operands have rows {sorted(rows)}, which must be equal"
        return None

    def evaluate(self, launch: Launch) -> Array:
        return np.concatenate([launch[name] for name in self.inputs], -1)

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        first = 0
        for name in self.inputs:
            features = backward.shape(name)[-1]
            backward.give(name, SliceFeatures, gradient, first, features)
            first += features


@dataclass(frozen=True, slots=True)
class SliceFeatures(Operation):
    """Take consecutive features of each row: `result[…, j] = input[…, first + j]`."""

    places = Place.IN_HEAD
    element_flop = 0

    input: ValueName
    first: int
    features: int

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return the rows of the input with the features of the slice."""
        return (*tensors[self.input].shape[:-1], self.features)

    def wrong_operand(self, tensors: Tensors) -> str | None:
        found, end = tensors[self.input].shape[-1], self.first + self.features
        if 0 <= self.first < end <= found:
            return None
        return f"it takes features {self.first} to {end - 1} of {found}"

    def read_activations(self, tensors: Tensors) -> tuple[Tensor, ...]:
        """Return the features that it takes."""
        del tensors
        return (self.result,)

    def evaluate(self, launch: Launch) -> Array:
        return launch[self.input][..., self.first : self.first + self.features]
