"""Where the elements of a PyTorch tensor are in a matrix of the graph.

A PyTorch model looks at one matrix (rows, features) in many ways: with heads as a dimension, with
heads before rows, at a third of the features, at each head several times. None of this computes
anything. A layout says for each element of the PyTorch tensor which element of the matrix it is:

    layout    := offset dimension*      the sum of offset and of a step in every dimension is the
    dimension := (size, stride)*        place in the matrix, row after row

A dimension of several pieces, of which the first is the slowest, is what a reshape leaves behind
where elements are not at equal distances. So every reshape of every layout is a layout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

MATRIX_DIMENSIONS = 2
"""Rows and features."""
Dimension = tuple[tuple[int, int], ...]
"""Pieces (size, stride), the slowest first, none of size 1; no piece at all is a size of 1."""


@dataclass(frozen=True, slots=True)
class Layout:
    """An affine map from the indices of a PyTorch tensor to places in a matrix."""

    dimensions: tuple[Dimension, ...]
    offset: int = 0

    @staticmethod
    def of_matrix(shape: Sequence[int]) -> Layout:
        """Return the layout of a tensor that has the elements of a matrix in their order."""
        strides = [math.prod(shape[index + 1 :]) for index in range(len(shape))]
        return Layout(tuple(_dimension([piece]) for piece in zip(shape, strides, strict=True)))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the PyTorch tensor."""
        return tuple(math.prod(size for size, _ in pieces) for pieces in self.dimensions)

    def reshape(self, shape: Sequence[int]) -> Layout | None:
        """Return the layout of the same elements in the same order; None if pieces do not divide.

        >>> Layout.of_matrix((4, 6)).reshape((4, 3, 2)).permute((1, 0, 2)).reshape((3, 8)).shape
        (3, 8)
        """
        pieces = [piece for dimension in self.dimensions for piece in dimension]
        dimensions: list[Dimension] = []
        for size in reversed(shape):
            taken, missing = list[tuple[int, int]](), size
            while missing > 1:
                have, stride = pieces.pop()
                part = math.gcd(have, missing)
                if part not in (have, missing):
                    return None
                taken.append((part, stride))
                if part < have:
                    pieces.append((have // part, stride * part))
                missing //= part
            dimensions.append(_dimension(reversed(taken)))
        return Layout(tuple(reversed(dimensions)), self.offset)

    def permute(self, order: Sequence[int]) -> Layout:
        """Return the layout with its dimensions in another order."""
        return Layout(tuple(self.dimensions[index] for index in order), self.offset)

    def expand(self, shape: Sequence[int]) -> Layout:
        """Return the layout with new dimensions in front and dimensions of size 1 repeated."""
        new = len(shape) - len(self.dimensions)
        old = ((),) * new + self.dimensions
        repeated = (
            pieces or _dimension([(size, 0)]) for size, pieces in zip(shape, old, strict=True)
        )
        return Layout(tuple(repeated), self.offset)

    def slice(self, dimension: int, start: int, size: int) -> Layout | None:
        """Return the layout of consecutive indices of a dimension; None if they cut its pieces."""
        found = _slice(self.dimensions[dimension], start, size)
        if found is None:
            return None
        pieces, offset = found
        dimensions = list(self.dimensions)
        dimensions[dimension] = pieces
        return Layout(tuple(dimensions), self.offset + offset)

    def every(self, dimension: int, start: int, step: int) -> Layout | None:
        """Return the layout of each `step`-th index of a dimension; None if no layout can say it.

        The dimension must be whole steps long, the first index be in the first step.

        >>> Layout.of_matrix((2, 6)).every(1, 1, 3).steps(1)
        array([0, 3])
        """
        size = self.shape[dimension]
        if size % step or start >= step:
            return None
        shape = [*self.shape[:dimension], size // step, step, *self.shape[dimension + 1 :]]
        split = self.reshape(shape)
        return None if split is None else split.select(dimension + 1, start)

    def select(self, dimension: int, index: int) -> Layout:
        """Return the layout without a dimension, at one of its indices."""
        offset, rest = self.offset, index
        for size, stride in reversed(self.dimensions[dimension]):
            rest, step = divmod(rest, size)
            offset += step * stride
        dimensions = self.dimensions[:dimension] + self.dimensions[dimension + 1 :]
        return Layout(dimensions, offset)

    def repeat(self, dimension: int, times: int) -> Layout:
        """Return the layout with each index of a dimension repeated that often in a row."""
        dimensions = list(self.dimensions)
        dimensions[dimension] = _dimension([*dimensions[dimension], (times, 0)])
        return Layout(tuple(dimensions), self.offset)

    def without_repetition(self, dimension: int) -> tuple[Layout, int]:
        """Return the layout with each index of a dimension once, and how often it was there."""
        pieces = list(self.dimensions[dimension])
        times = pieces.pop()[0] if pieces and pieces[-1][1] == 0 else 1
        dimensions = list(self.dimensions)
        dimensions[dimension] = tuple(pieces)
        return Layout(tuple(dimensions), self.offset), times

    def steps(self, *dimensions: int) -> NDArray[np.int64]:
        """Return the distances from the first element over some dimensions, the last one fastest.

        >>> Layout.of_matrix((2, 3)).permute((1, 0)).steps(0, 1)
        array([0, 3, 1, 4, 2, 5])
        """
        total = np.zeros(1, np.int64)
        for dimension in dimensions:
            for size, stride in self.dimensions[dimension]:
                total = (total[:, np.newaxis] + np.arange(size) * stride).reshape(-1)
        return total

    def take(self, matrix: NDArray[Any]) -> NDArray[Any]:
        """Return the PyTorch tensor of this layout, a view or copy of the matrix's elements."""
        pieces = [piece for dimension in self.dimensions for piece in dimension]
        flat = np.ascontiguousarray(matrix).reshape(-1)[self.offset :]
        strides = [stride * flat.itemsize for _, stride in pieces]
        view = np.lib.stride_tricks.as_strided(flat, [size for size, _ in pieces], strides)
        return view.reshape(self.shape)


def _dimension(pieces: Iterable[tuple[int, int]]) -> Dimension:
    """Join pieces that are at equal distances, so that equal maps are equal layouts."""
    joined: list[tuple[int, int]] = []
    for size, stride in pieces:
        if size == 1:
            continue
        if joined and joined[-1][1] == size * stride:
            joined[-1] = joined[-1][0] * size, stride
        else:
            joined.append((size, stride))
    return tuple(joined)


def _slice(pieces: Dimension, start: int, size: int) -> tuple[Dimension, int] | None:
    if not pieces:
        return (), 0
    (first, stride), rest = pieces[0], pieces[1:]
    inner = math.prod(size for size, _ in rest)
    if start % inner == 0 and size % inner == 0:
        return _dimension([(size // inner, stride), *rest]), start // inner * stride
    index, within = divmod(start, inner)
    if index >= first or within + size > inner:
        return None
    found = _slice(rest, within, size)
    return None if found is None else (found[0], found[1] + index * stride)
