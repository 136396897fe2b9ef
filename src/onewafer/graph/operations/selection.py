"""The largest elements of a row, elements by their indices, and rows one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.graph.operations.layer_part import Place
from onewafer.graph.operations.names import IndexName, ValueName
from onewafer.graph.operations.operation import Operation

if TYPE_CHECKING:
    from onewafer.graph.operations.launch import Array, Launch
    from onewafer.graph.operations.operation import Tensors
    from onewafer.graph.tensor import Tensor

__all__ = ["Concatenate", "Gather", "TopIndices"]


@dataclass(frozen=True, slots=True)
class TopIndices(Operation):
    """Find the largest elements of each row, the largest first: `result[…, j]` is a feature.

    Of equals (−0 is equal to +0) the first one comes first; NaN is above all numbers. The result
    has type i32, shape (…, count); all other operations compute floating-point numbers.
    """

    places = Place.IN_HEAD
    gives_indices = True

    input: ValueName
    count: int
    """How many; 1: the argmax of each row."""

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return the rows of the input, with as many features as it finds."""
        return (*tensors[self.input].shape[:-1], self.count)

    def wrong_operand(self, tensors: Tensors) -> str | None:
        """Return what is wrong with the shapes of its operands; None if nothing is."""
        features = tensors[self.input].shape[-1]
        if not 1 <= self.count <= features:
            return f"it finds {self.count} of {features} features; use 1 to {features}"
        return None

    def count_flop(self, tensors: Tensors) -> int:
        """Return the comparisons of the search."""
        return tensors[self.input].num_elements

    def evaluate(self, launch: Launch) -> Array:
        """Return its result in a launch."""
        values = launch[self.input]
        if self.count == 1:
            return values.argmax(axis=-1, keepdims=True)
        order = np.lexsort((-values, ~np.isnan(values)))  # stable; the last key comes first
        return order[..., : self.count]


@dataclass(frozen=True, slots=True)
class Gather(Operation):
    """Take some features of each row: `result[…, j] = input[…, indices[…, j]]`."""

    places = Place.IN_HEAD
    element_flop = 0

    input: ValueName
    indices: IndexName
    """Type i32, a row for each row of the input; an index outside the features is a bug."""

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return an element for each index."""
        return tensors[self.indices].shape

    def wrong_operand(self, tensors: Tensors) -> str | None:
        """Return what is wrong with the shapes of its operands; None if nothing is."""
        rows, wanted = (tensors[name].shape[:-1] for name in (self.input, self.indices))
        if rows != wanted:
            return f"there are indices for rows {wanted}, and the input has rows {rows}"
        return None

    def read_activations(self, tensors: Tensors) -> tuple[Tensor, ...]:
        """Return the elements that it takes, and their indices."""
        return (self.result, tensors[self.indices])

    def evaluate(self, launch: Launch) -> Array:
        """Return its result in a launch."""
        return np.take_along_axis(launch[self.input], launch[self.indices], -1)


@dataclass(frozen=True, slots=True)
class Concatenate(Operation):
    """Put the features of several tensors one after the other in each row."""

    places = Place.JOINING | Place.IN_HEAD
    element_flop = 0

    inputs: tuple[ValueName, ...]
    """At least one."""

    def wrong_number(self) -> str | None:
        """Return what is wrong with its numbers; None if nothing is."""
        return None if self.inputs else "it has no operands"

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return the rows of the first one, with the features of all."""
        shapes = [tensors[name].shape for name in self.inputs]
        return (*shapes[0][:-1], sum(shape[-1] for shape in shapes))

    def wrong_operand(self, tensors: Tensors) -> str | None:
        """Return what is wrong with the shapes of its operands; None if nothing is."""
        rows = {tensors[name].shape[:-1] for name in self.inputs}
        if len(rows) > 1:
            return f"the operands have rows {sorted(rows)}, which must be equal"
        return None

    def evaluate(self, launch: Launch) -> Array:
        """Return its result in a launch."""
        return np.concatenate([launch[name] for name in self.inputs], -1)
