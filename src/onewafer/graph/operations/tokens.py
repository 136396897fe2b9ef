"""Look-ups, positions, and single rows of a launch."""

from __future__ import annotations

from dataclasses import dataclass

from onewafer.graph.operations.names import IndexName, ParameterName, PositionTableName, ValueName
from onewafer.graph.operations.operation import Operation


@dataclass(frozen=True, slots=True)
class Embedding(Operation):
    """Look rows up in a table: `result[r] = table[indices[r, 0]]`; two-dimensional."""

    indices: IndexName
    """Type i32, shape (rows, 1), an input or a result; an index outside the table is a bug."""
    table: ParameterName
    """A parameter of shape (number of rows to choose from, features)."""


@dataclass(frozen=True, slots=True)
class PositionEmbedding(Operation):
    """Take the rows of a table at the positions of the launch: `result[r] = table[start + r]`."""

    table: PositionTableName
    """A parameter of shape (positions, features)."""


@dataclass(frozen=True, slots=True)
class Rotary(Operation):
    """Rotate pairs of features of each head by angles of the position; two-dimensional.

    For a head x at position p and each pair of features a, b:
    `result[a] = x[a] · cosine[p, a] − x[b] · sine[p, a]` and
    `result[b] = x[b] · cosine[p, b] + x[a] · sine[p, b]`.
    """

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


@dataclass(frozen=True, slots=True)
class FirstRow(Operation):
    """Take the first row of the launch; two-dimensional, the result has one row."""

    input: ValueName


@dataclass(frozen=True, slots=True)
class LastRow(Operation):
    """Take the last valid row of the launch; two-dimensional, the result has one row."""

    input: ValueName
