"""Tables of one value per PE of a region: dense arrays, so that a region may be a whole wafer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from onewafer.geometry import Rectangle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_Value = TypeVar("_Value")
NOTHING = -1


@dataclass(slots=True)
class RegionTable(Generic[_Value]):
    """Values on the PEs of a region; the last assignment to a PE counts."""

    indices: NDArray[np.int32]
    """`[height, width]` → index into `values`; −1: no value."""
    values: list[_Value] = field(default_factory=list["_Value"])
    _numbers: dict[tuple[type, _Value], int] = field(
        default_factory=dict["tuple[type, _Value]", int]
    )
    """(Type, value) → index: `True` is not 1."""

    @classmethod
    def empty(cls, width: int, height: int) -> RegionTable[_Value]:
        """Return a table without any value."""
        return cls(np.full((height, width), NOTHING, np.int32))

    @property
    def is_set(self) -> NDArray[np.bool_]:
        """`[height, width]`: whether the PE has a value."""
        return self.indices != NOTHING

    def assign(self, rectangle: Rectangle, value: _Value) -> None:
        """Give the PEs of a rectangle, which lies inside, a value."""
        self.indices[rows_and_columns(rectangle)] = self._number(value)

    def paste(self, other: RegionTable[_Value], x: int, y: int) -> None:
        """Copy the values of another table, whose PE (0, 0) is (x, y) here."""
        height, width = other.indices.shape
        here = self.indices[y : y + height, x : x + width]
        for value, mask in other.groups():
            here[mask] = self._number(value)

    def _number(self, value: _Value) -> int:
        number = self._numbers.setdefault((type(value), value), len(self.values))
        if number == len(self.values):
            self.values.append(value)
        return number

    def at(self, x: int, y: int) -> _Value | None:
        """Return the value of a PE, None if it has none."""
        index = int(self.indices[y, x])
        return None if index == NOTHING else self.values[index]

    def groups(self) -> Iterator[tuple[_Value, NDArray[np.bool_]]]:
        """Yield each value with the mask of the PEs that have it."""
        for index, value in enumerate(self.values):
            mask = self.indices == index
            if mask.any():
                yield value, mask


def rows_and_columns(rectangle: Rectangle) -> tuple[slice[int, int], slice[int, int]]:
    """Return the index of a rectangle in an array `[y, x]`."""
    return (
        slice(rectangle.y, rectangle.y + rectangle.height),
        slice(rectangle.x, rectangle.x + rectangle.width),
    )


def cover(mask: NDArray[np.bool_]) -> Iterator[Rectangle]:
    """Yield disjoint rectangles that together are the PEs of a mask `[y, x]`.

    Runs of a row are joined with equal runs of the rows below: few rectangles for the shapes that
    programs paint, not the fewest that there are.
    """
    open_runs: dict[tuple[int, int], int] = {}
    for y in range(len(mask) + 1):
        runs = set(_runs(mask[y])) if y < len(mask) else set[tuple[int, int]]()
        for run in [run for run in open_runs if run not in runs]:
            top = open_runs.pop(run)
            yield Rectangle(run[0], top, run[1] - run[0], y - top)
        for run in sorted(runs - open_runs.keys()):
            open_runs[run] = y


def _runs(row: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the intervals `[first, end)` of a row that are set."""
    changes = np.flatnonzero(np.diff(row.astype(np.int8), prepend=0, append=0))
    return [(int(a), int(b)) for a, b in changes.reshape(-1, 2)]
