"""Table lookups, positions, and single rows of a launch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.errors import HostError
from onewafer.graph.operations.checks import MATRIX, not_a_matrix, wrong_gradient, wrong_table
from onewafer.graph.operations.layer_part import LayerPart, Place
from onewafer.graph.operations.names import IndexName, ParameterName, PositionTableName, ValueName
from onewafer.graph.operations.operation import Operation

if TYPE_CHECKING:
    from onewafer.graph.operations.launch import Array, Launch
    from onewafer.graph.operations.operation import Backward, Tensors
    from onewafer.graph.tensor import Tensor

__all__ = [
    "Embedding",
    "EmbeddingGradient",
    "FirstRow",
    "FirstRowGradient",
    "LastRow",
    "LastRowGradient",
    "PositionEmbedding",
    "PositionEmbeddingGradient",
    "Rotary",
    "RotaryGradient",
    "RowAt",
    "RowAtGradient",
]


@dataclass(frozen=True, slots=True)
class Embedding(Operation):
    """Look up rows of a table: `result[r] = table[indices[r, 0]]`; two-dimensional."""

    part = LayerPart.EMBEDDING
    element_flop = 0

    indices: IndexName
    """Type i32, shape (rows, 1); an index outside the table is a bug."""
    table: ParameterName
    """A parameter of shape (number of rows to choose from, features)."""
    padding: int | None = None
    """The row of the table that gets no gradient, if there is one."""

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return the rows of the indices with the features of the table."""
        return (tensors[self.indices].shape[0], tensors[self.table].shape[-1])

    def wrong_operand(self, tensors: Tensors) -> str | None:
        indices = tensors[self.indices].shape
        if len(indices) != MATRIX or indices[1] != 1:
            return f"the indices have shape {indices}, must be (rows, 1)"
        return wrong_table(tensors[self.table], "number of rows to choose from")

    def count_read_weights(self, tensors: Tensors, sequences: int = 1) -> int:
        """Return the elements of the looked-up rows."""
        del tensors
        return self.result.num_elements * sequences

    def evaluate(self, launch: Launch) -> Array:
        indices, table = launch[self.indices][:, 0], launch[self.table]
        if indices.size and not (indices.min() >= 0 and indices.max() < len(table)):
            raise HostError(
                f"{self.indices!r} has indices from {indices.min()} to {indices.max()}; "
                f"{self.table!r} has rows 0 to {len(table) - 1}"
            )
        return table[indices]

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        if backward.needs(self.table):
            rows = backward.shape(self.table)[0]
            wanted = gradient, self.indices, rows, self.padding
            backward.give(self.table, EmbeddingGradient, *wanted)


@dataclass(frozen=True, slots=True)
class EmbeddingGradient(Operation):
    """Sum gradients by row of a table: `result[i] = Σ gradient[r]` where `indices[r, 0] = i`.

    The row `padding` is 0.
    """

    gradient: ValueName
    indices: IndexName
    """Type i32, shape (rows, 1)."""
    table_rows: int
    """Rows of the table, and of the result."""
    padding: int | None = None
    """The row of the table that gets no gradient, if there is one."""

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return the rows of the table with the features of the gradient."""
        return (self.table_rows, tensors[self.gradient].shape[-1])

    def wrong_operand(self, tensors: Tensors) -> str | None:
        indices, gradient = tensors[self.indices].shape, tensors[self.gradient]
        if len(indices) != MATRIX or indices[1] != 1:
            return f"the indices have shape {indices}, must be (rows, 1)"
        return wrong_gradient(gradient, (indices[0], gradient.shape[-1]))

    def count_flop(self, tensors: Tensors) -> int:
        """Return the additions."""
        return tensors[self.gradient].num_elements

    def evaluate(self, launch: Launch) -> Array:
        gradient = launch[self.gradient]
        result = np.zeros((self.table_rows, gradient.shape[-1]), gradient.dtype)
        indices = launch[self.indices][:, 0]
        if self.padding is not None:
            is_row = indices != self.padding
            indices, gradient = indices[is_row], gradient[is_row]
        np.add.at(result, indices, gradient)
        return result


@dataclass(frozen=True, slots=True)
class PositionEmbedding(Operation):
    """Look up the rows of a table at the launch's positions: `result[r] = table[start + r]`."""

    part = LayerPart.EMBEDDING
    element_flop = 0
    is_sequential = True
    has_all_rows = True

    table: PositionTableName
    """A parameter of shape (positions, features)."""

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return the shape with the table's features; no operand determines the rows."""
        return (self.result.shape[0], tensors[self.table].shape[-1])

    def wrong_operand(self, tensors: Tensors) -> str | None:
        return wrong_table(tensors[self.table], "positions")

    def count_read_weights(self, tensors: Tensors, sequences: int = 1) -> int:
        """Return the elements of the looked-up rows."""
        del tensors
        return self.result.num_elements * sequences

    def evaluate(self, launch: Launch) -> Array:
        return launch.at_positions(self.table)

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        if backward.needs(self.table):
            positions = backward.shape(self.table)[0]
            backward.give(self.table, PositionEmbeddingGradient, gradient, positions)


@dataclass(frozen=True, slots=True)
class PositionEmbeddingGradient(Operation):
    """Place rows at the launch's positions: `result[start + r] = gradient[r]`; others are 0."""

    element_flop = 0
    is_sequential = True

    gradient: ValueName
    positions: int
    """Rows of the table and of the result."""

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return a row for each position."""
        return (self.positions, tensors[self.gradient].shape[-1])

    def wrong_operand(self, tensors: Tensors) -> str | None:
        gradient = tensors[self.gradient]
        if gradient.shape[0] > self.positions:
            return f"it has {gradient.shape[0]} rows for {self.positions} positions"
        return not_a_matrix("gradient", gradient)

    def evaluate(self, launch: Launch) -> Array:
        gradient = launch[self.gradient]
        end = launch.start + len(gradient)
        if end > self.positions:
            raise HostError(f"position {end - 1} is beyond the {self.positions} positions")
        result = np.zeros((self.positions, gradient.shape[-1]), gradient.dtype)
        result[launch.start : end] = gradient
        return result


class _Rotation(Operation):
    """A rotation of pairs of features in each head by angles of the position."""

    __slots__ = ()

    element_flop = 3
    """Two products and their sum."""
    is_sequential = True
    has_all_rows = True

    cosine: PositionTableName
    sine: PositionTableName
    heads: int
    swapped: int | None

    @property
    def num_swapped(self) -> int:
        """Features at the beginning of a head that are paired by halves."""
        whole = self.result.shape[-1] // self.heads
        return whole if self.swapped is None else self.swapped

    def wrong_operand(self, tensors: Tensors) -> str | None:
        source = tensors[self.activation_operands[0]]
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
        """Return the elements of the looked-up rows of both tables, once for all sequences."""
        del sequences
        return 2 * self.result.shape[0] * tensors[self.cosine].shape[-1]

    def _heads_and_tables(self, launch: Launch) -> tuple[Array, Array, Array]:
        """Return the heads of the rows, and the cosines and sines of their positions."""
        rows = launch[self.activation_operands[0]]
        heads = rows.reshape(len(rows), self.heads, -1)
        cosine = launch.at_positions(self.cosine)[:, np.newaxis]
        return heads, cosine, launch.at_positions(self.sine)[:, np.newaxis]

    def _rotated(self, heads: Array) -> Array:
        """Return, for each pair a, b of features, −b in the place of a, and a in that of b."""
        count = self.num_swapped
        first, second = np.split(heads[..., :count], 2, axis=-1)
        even, odd = heads[..., count::2], heads[..., count + 1 :: 2]
        neighbours = np.stack([-odd, even], axis=-1).reshape(*heads.shape[:-1], -1)
        return np.concatenate([-second, first, neighbours], axis=-1)


@dataclass(frozen=True, slots=True)
class Rotary(_Rotation):
    """Rotate pairs of features of each head by angles of the position; two-dimensional.

    For a head x at position p and each pair of features a, b:
    `result[a] = x[a] · cosine[p, a] − x[b] · sine[p, a]` and
    `result[b] = x[b] · cosine[p, b] + x[a] · sine[p, b]`.
    """

    places = Place.BEFORE_ATTENTION

    input: ValueName
    cosine: PositionTableName
    """A parameter of shape (positions, features of a head)."""
    sine: PositionTableName
    """A parameter of shape (positions, features of a head)."""
    heads: int
    """The number of heads, which are rotated alike."""
    swapped: int | None = None
    """Features at the beginning of a head whose first half is paired with the second half (None:
    all); the features after them are paired with their neighbours."""

    def evaluate(self, launch: Launch) -> Array:
        heads, cosine, sine = self._heads_and_tables(launch)
        return (heads * cosine + self._rotated(heads) * sine).reshape(len(heads), -1)

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        for table in (self.cosine, self.sine):
            backward.refuse(self, table, "a table of angles is no weight")
        numbers = self.heads, self.swapped
        backward.give(self.input, RotaryGradient, gradient, self.cosine, self.sine, *numbers)


@dataclass(frozen=True, slots=True)
class RotaryGradient(_Rotation):
    """Multiply by the transposed matrix of a `Rotary`, which rotates back; two-dimensional.

    For each pair of features a, b of a gradient g at position p:
    `result[a] = g[a] · cosine[p, a] + g[b] · sine[p, b]` and
    `result[b] = g[b] · cosine[p, b] − g[a] · sine[p, a]`.
    """

    gradient: ValueName
    cosine: PositionTableName
    """A parameter of shape (positions, features of a head)."""
    sine: PositionTableName
    """A parameter of shape (positions, features of a head)."""
    heads: int
    swapped: int | None = None
    """Features at the beginning of a head that are paired by halves; None: all."""

    def evaluate(self, launch: Launch) -> Array:
        heads, cosine, sine = self._heads_and_tables(launch)
        return (heads * cosine - self._rotated(heads * sine)).reshape(len(heads), -1)


@dataclass(frozen=True, slots=True)
class _OneRow(Operation):
    """An operation that takes one row of a launch."""

    places = Place.FIRST_IN_HEAD
    element_flop = 0
    is_sequential = True

    input: ValueName

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return one row with the features of the input."""
        return (1, tensors[self.input].shape[-1])

    def wrong_operand(self, tensors: Tensors) -> str | None:
        return not_a_matrix("input", tensors[self.input])

    def read_activations(self, tensors: Tensors) -> tuple[Tensor, ...]:
        """Return the row that it takes."""
        del tensors
        return (self.result,)


@dataclass(frozen=True, slots=True)
class FirstRow(_OneRow):
    """Take the first row of the launch; two-dimensional, the result has one row."""

    def evaluate(self, launch: Launch) -> Array:
        return launch[self.input][:1]

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        backward.give(self.input, FirstRowGradient, gradient, self.input)


@dataclass(frozen=True, slots=True)
class LastRow(_OneRow):
    """Take the last valid row of the launch; two-dimensional, the result has one row.

    In a graph for several sequences, it takes the last row of each slot of the launch.
    """

    sequences: int = 1
    """The most sequences that a launch has rows of."""

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return a row for each sequence, with the features of the input."""
        return (self.sequences, tensors[self.input].shape[-1])

    def evaluate(self, launch: Launch) -> Array:
        """Return the result in a launch of one slot."""
        return launch[self.input][-1:]

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        if self.sequences > 1:
            backward.refuse(self, self.input, "only that of one sequence is")
        backward.give(self.input, LastRowGradient, gradient, self.input)


@dataclass(frozen=True, slots=True)
class RowAt(_OneRow):
    """Take the row of the launch that an index names; two-dimensional, the result has one row."""

    index: IndexName
    """Type i32, shape (1, 1), an input; a row that the launch does not have is a bug."""

    def wrong_operand(self, tensors: Tensors) -> str | None:
        return not_a_matrix("input", tensors[self.input]) or _not_one_index(tensors[self.index])

    def evaluate(self, launch: Launch) -> Array:
        rows = launch[self.input]
        row = _row_of(self.index, launch, len(rows))
        return rows[row : row + 1]

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        backward.give(self.input, RowAtGradient, gradient, self.input, self.index)


def _not_one_index(index: Tensor) -> str | None:
    return None if index.shape == (1, 1) else f"the index has shape {index.shape}, must be (1, 1)"


def _row_of(index: str, launch: Launch, rows: int) -> int:
    row = int(launch[index][0, 0])
    if not 0 <= row < rows:
        raise HostError(f"{index!r} is {row}; the launch has rows 0 to {rows - 1}")
    return row


@dataclass(frozen=True, slots=True)
class _OneRowGradient(Operation):
    """An operation that places one row among zeros."""

    element_flop = 0
    is_sequential = True

    gradient: ValueName
    input: ValueName
    """The input of the operation that takes the row; only its shape is read."""

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        return tensors[self.input].shape

    def wrong_operand(self, tensors: Tensors) -> str | None:
        source = tensors[self.input]
        wrong = not_a_matrix("input", source)
        return wrong or wrong_gradient(tensors[self.gradient], (1, source.shape[-1]))

    def read_activations(self, tensors: Tensors) -> tuple[Tensor, ...]:
        """Return the one row."""
        return (tensors[self.gradient],)

    def _among_zeros(self, launch: Launch, row: int) -> Array:
        result = np.zeros_like(launch[self.input])
        result[row] = launch[self.gradient][0]
        return result


@dataclass(frozen=True, slots=True)
class FirstRowGradient(_OneRowGradient):
    """Place the row of a gradient before rows of zeros, as many as the launch has."""

    def evaluate(self, launch: Launch) -> Array:
        return self._among_zeros(launch, 0)


@dataclass(frozen=True, slots=True)
class LastRowGradient(_OneRowGradient):
    """Place the row of a gradient at the last valid row, after rows of zeros."""

    def evaluate(self, launch: Launch) -> Array:
        return self._among_zeros(launch, -1)


@dataclass(frozen=True, slots=True)
class RowAtGradient(_OneRowGradient):
    """Place the row of a gradient at an indexed row, among rows of zeros."""

    index: IndexName
    """Type i32, shape (1, 1)."""

    def wrong_operand(self, tensors: Tensors) -> str | None:
        return _OneRowGradient.wrong_operand(self, tensors) or _not_one_index(tensors[self.index])

    def evaluate(self, launch: Launch) -> Array:
        return self._among_zeros(launch, _row_of(self.index, launch, len(launch[self.input])))
