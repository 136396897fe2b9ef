"""Pack regions on wafers, in the order in which activations go through them.

Regions fill shelves across a wafer, each as high as its highest region, and then the next wafer.
Every other shelf runs backwards, so that consecutive regions are neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from onewafer.perf.wafer.measured import Rectangle


@dataclass(frozen=True, slots=True)
class Site:
    """The position of a region."""

    wafer: int
    x: int
    """Coordinate of its north-western PE, among the PEs that programs can use."""
    y: int
    width: int
    height: int

    def hops_to(self, other: Site) -> int:
        """Return the hops from the first PE of the region to that of another one."""
        return abs(self.x - other.x) + abs(self.y - other.y)


def pack(rectangles: Iterable[Rectangle], wafer: Rectangle) -> tuple[Site, ...] | None:
    """Return a site for each rectangle, in order; None if one is larger than a wafer."""
    sites: list[Site] = []
    shelves = _shelves(rectangles, wafer[0])
    number, y = 0, 0
    for index, shelf in enumerate(shelves):
        height = max(rectangle[1] for rectangle in shelf)
        if height > wafer[1] or shelf[0][0] > wafer[0]:
            return None
        if y + height > wafer[1]:
            number, y = number + 1, 0
        x = 0
        for width, own_height in shelf:
            left = x if index % 2 == 0 else wafer[0] - x - width
            sites.append(Site(number, left, y, width, own_height))
            x += width
        y += height
    return tuple(sites)


def num_wafers(sites: Sequence[Site]) -> int:
    """Return the number of wafers of the sites."""
    return 1 + max(site.wafer for site in sites)


def crossings(sites: Sequence[Site]) -> int:
    """Return how often activations go from wafer to wafer."""
    return sum(first.wafer != second.wafer for first, second in pairwise(sites))


def _shelves(rectangles: Iterable[Rectangle], width: int) -> list[list[Rectangle]]:
    shelves: list[list[Rectangle]] = []
    used = width + 1
    for rectangle in rectangles:
        if used + rectangle[0] > width or not shelves:
            shelves.append([])
            used = 0
        shelves[-1].append(rectangle)
        used += rectangle[0]
    return shelves
