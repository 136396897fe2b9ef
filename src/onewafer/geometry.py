"""Coordinates, directions and rectangles.

x grows east, y grows south; coordinates are always (x, y), sizes always (width, height), and
arrays over PEs are indexed `[y, x]`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from onewafer.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Direction(IntEnum):
    """A port of a router. The value is its bit number in route masks (`1 << direction`)."""

    WEST = 0
    EAST = 1
    SOUTH = 2
    NORTH = 3
    RAMP = 4

    @property
    def opposite(self) -> Direction:
        """The port at the other end of this port's link (the ramp is its own opposite)."""
        return _OPPOSITE[self]

    @property
    def step(self) -> tuple[int, int]:
        """(dx, dy) from a PE to its neighbour at this port; (0, 0) for the ramp."""
        return _STEP[self]


_OPPOSITE = {
    Direction.WEST: Direction.EAST,
    Direction.EAST: Direction.WEST,
    Direction.SOUTH: Direction.NORTH,
    Direction.NORTH: Direction.SOUTH,
    Direction.RAMP: Direction.RAMP,
}
_STEP = {
    Direction.WEST: (-1, 0),
    Direction.EAST: (1, 0),
    Direction.SOUTH: (0, 1),
    Direction.NORTH: (0, -1),
    Direction.RAMP: (0, 0),
}


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A rectangle of PEs: (x, y) is its north-west corner, sizes are in PEs."""

    x: int
    y: int
    width: int
    height: int

    @property
    def num_pes(self) -> int:
        """Number of PEs inside."""
        return self.width * self.height

    def contains(self, x: int, y: int) -> bool:
        """Tell whether PE (x, y) lies inside."""
        return self.x <= x < self.x + self.width and self.y <= y < self.y + self.height

    def pes(self) -> Iterator[tuple[int, int]]:
        """Yield the coordinates (x, y) row by row, west to east."""
        for y in range(self.y, self.y + self.height):
            for x in range(self.x, self.x + self.width):
                yield x, y

    def __str__(self) -> str:
        """Return `width×height at (x, y)`."""
        return f"{self.width}×{self.height} at ({self.x}, {self.y})"


def parse_size(text: str) -> tuple[int, int]:
    """Return (width, height) of `WIDTHxHEIGHT`.

    >>> parse_size("8x4")
    (8, 4)
    """
    match = re.fullmatch(r"([1-9][0-9]{0,8})[x×]([1-9][0-9]{0,8})", text.strip())
    if match is None:
        raise ConfigurationError(f"rectangle {text!r}: write WIDTHxHEIGHT in PEs, e.g. 8x4")
    return int(match[1]), int(match[2])
