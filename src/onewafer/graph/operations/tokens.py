"""Look-ups, positions, and single rows of a launch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.errors import HostError
from onewafer.graph.operations.checks import MATRIX, not_a_matrix, wrong_table
from onewafer.graph.operations.layer_part import LayerPart, Place
from onewafer.graph.operations.names import IndexName, ParameterName, PositionTableName, ValueName
from onewafer.graph.operations.operation import Operation

if TYPE_CHECKING:
    from onewafer.graph.operations.launch import Array, Launch
    from onewafer.graph.operations.operation import Tensors
    from onewafer.graph.tensor import Tensor

__all__ = ["Embedding", "FirstRow", "LastRow", "PositionEmbedding", "Rotary"]


@dataclass(frozen=True, slots=True)
class Embedding(Operation):
    """Look rows up in a table: `result[r] = table[indices[r, 0]]`; two-dimensional."""

    part = LayerPart.EMBEDDING
    element_flop = 0

    indices: IndexName
    """Type i32, shape (rows, 1), an input or a result; an index outside the table is a bug."""
    table: ParameterName
    """A parameter of shape (number of rows to choose from, features)."""

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return the rows of the indices with the features of the table."""
        return (tensors[self.indices].shape[0], tensors[self.table].shape[-1])

    def wrong_operand(self, tensors: Tensors) -> str | None:
        """Return what is wrong with the shapes of its operands; None if nothing is."""
        indices = tensors[self.indices].shape
        if len(indices) != MATRIX or indices[1] != 1:
            return f"the indices have shape {indices}, must be (rows, 1)"
        return wrong_table(tensors[self.table], "number of rows to choose from")

    def count_read_weights(self, tensors: Tensors, sequences: int = 1) -> int:
        """Return the elements of the rows that are looked up."""
        del tensors
        return self.result.num_elements * sequences

    def evaluate(self, launch: Launch) -> Array:
        """Return its result in a launch."""
        indices, table = launch[self.indices][:, 0], launch[self.table]
        if indices.size and not (indices.min() >= 0 and indices.max() < len(table)):
            raise HostError(
                f"{self.indices!r} has indices from {indices.min()} to {indices.max()}; "
                f"{self.table!r} has rows 0 to {len(table) - 1}"
            )
        return table[indices]


@dataclass(frozen=True, slots=True)
class PositionEmbedding(Operation):
    """Take the rows of a table at the positions of the launch: `result[r] = table[start + r]`."""

    part = LayerPart.EMBEDDING
    element_flop = 0
    is_sequential = True
    has_all_rows = True

    table: PositionTableName
    """A parameter of shape (positions, features)."""

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return the features of the table; it reads no tensor that could say the rows."""
        return (self.result.shape[0], tensors[self.table].shape[-1])

    def wrong_operand(self, tensors: Tensors) -> str | None:
        """Return what is wrong with the shapes of its operands; None if nothing is."""
        return wrong_table(tensors[self.table], "positions")

    def count_read_weights(self, tensors: Tensors, sequences: int = 1) -> int:
        """Return the elements of the rows that are looked up."""
        del tensors
        return self.result.num_elements * sequences

    def evaluate(self, launch: Launch) -> Array:
        """Return its result in a launch."""
        return launch.at_positions(self.table)


@dataclass(frozen=True, slots=True)
class Rotary(Operation):
    """Rotate pairs of features of each head by angles of the position; two-dimensional.

    For a head x at position p and each pair of features a, b:
    `result[a] = x[a] · cosine[p, a] − x[b] · sine[p, a]` and
    `result[b] = x[b] · cosine[p, b] + x[a] · sine[p, b]`.
    """

    places = Place.BEFORE_ATTENTION
    element_flop = 3
    """Two products and their sum."""
    is_sequential = True
    has_all_rows = True

    input: ValueName
    cosine: PositionTableName
    """A parameter of shape (positions, features of a head)."""
    sine: PositionTableName
    """A parameter of shape (positions, features of a head)."""
    heads: int
    """Groups of consecutive features that are rotated alike."""
    swapped: int | None = None
    """Features at the beginning of a head whose first half is paired with the second half, None:
    all of them; the features after them are paired with their neighbours."""

    @property
    def num_swapped(self) -> int:
        """Features at the beginning of a head whose halves are paired."""
        whole = self.result.shape[-1] // self.heads
        return whole if self.swapped is None else self.swapped

    def wrong_operand(self, tensors: Tensors) -> str | None:
        """Return what is wrong with the shapes of its operands; None if nothing is."""
        source = tensors[self.input]
        features = source.shape[-1]
        if self.heads < 1 or features % (2 * self.heads):
            return f"it cuts {features} features into {self.heads} heads of two equal halves"
        head, swapped = features // self.heads, self.num_swapped
        if swapped % 2 or not 0 <= swapped <= head:
            return (
                f"it swaps halves of {swapped} features; must be even, at most the {head} of a head"
            )
        cosine, sine = tensors[self.cosine].shape, tensors[self.sine].shape
        if len(cosine) != MATRIX or cosine[1] != head or sine != cosine:
            return f"the tables have shapes {cosine} and {sine}, must both be (positions, {head})"
        return not_a_matrix("input", source)

    def count_read_weights(self, tensors: Tensors, sequences: int = 1) -> int:
        """Return the elements of the rows of both tables, which are the same for all sequences."""
        del sequences
        return 2 * self.result.shape[0] * tensors[self.cosine].shape[-1]

    def evaluate(self, launch: Launch) -> Array:
        """Return its result in a launch."""
        rows = launch[self.input]
        heads = rows.reshape(len(rows), self.heads, -1)
        count = self.num_swapped
        first, second = np.split(heads[..., :count], 2, axis=-1)
        even, odd = heads[..., count::2], heads[..., count + 1 :: 2]
        neighbours = np.stack([-odd, even], axis=-1).reshape(*heads.shape[:-1], -1)
        swapped = np.concatenate([-second, first, neighbours], axis=-1)
        cosine = launch.at_positions(self.cosine)[:, np.newaxis]
        sine = launch.at_positions(self.sine)[:, np.newaxis]
        return (heads * cosine + swapped * sine).reshape(rows.shape)


class _OneRow(Operation):
    """An operation that takes one row of a launch."""

    __slots__ = ()

    places = Place.FIRST_IN_HEAD
    element_flop = 0
    is_sequential = True

    input: ValueName

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return one row with the features of the input."""
        return (1, tensors[self.input].shape[-1])

    def wrong_operand(self, tensors: Tensors) -> str | None:
        """Return what is wrong with the shapes of its operands; None if nothing is."""
        return not_a_matrix("input", tensors[self.input])

    def read_activations(self, tensors: Tensors) -> tuple[Tensor, ...]:
        """Return the row that it takes."""
        del tensors
        return (self.result,)


@dataclass(frozen=True, slots=True)
class FirstRow(_OneRow):
    """Take the first row of the launch; two-dimensional, the result has one row."""

    input: ValueName

    def evaluate(self, launch: Launch) -> Array:
        """Return its result in a launch."""
        return launch[self.input][:1]


@dataclass(frozen=True, slots=True)
class LastRow(_OneRow):
    """Take the last valid row of the launch; two-dimensional, the result has one row."""

    input: ValueName

    def evaluate(self, launch: Launch) -> Array:
        """Return its result in a launch."""
        return launch[self.input][-1:]
