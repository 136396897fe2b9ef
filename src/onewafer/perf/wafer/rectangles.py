"""The rectangles that a search may try: fractions of a wafer, or alone on it."""

from __future__ import annotations

import math
from bisect import bisect_left
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from onewafer.mesh import largest_rectangle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from onewafer.perf.wafer.measured import Rectangle
    from onewafer.perf.wafer.system import Machine

    _Lengths = Callable[[int], Sequence[int]]

_MOST_UNEQUAL = 6
"""Largest ratio of the sides of a rectangle."""
_GROWTH = 1.12
"""Ratio of neighbouring side lengths of rectangles that are alone on a wafer."""


def shares_of_wafer(machine: Machine, least_bytes: float) -> tuple[Rectangle, ...]:
    """Return rectangles that tile a wafer and have `least_bytes` of memory, small ones first.

    The whole wafer is one of them, whatever its sides.
    """
    return _holding(machine, least_bytes, _shares)


def alone_on_wafer(machine: Machine, least_bytes: float) -> tuple[Rectangle, ...]:
    """Return rectangles of any size with `least_bytes` of memory, small ones first."""
    return _holding(machine, least_bytes, _steps)


def beside(
    rectangle: Rectangle, machine: Machine, *, is_alone: bool = False, reach: int
) -> Iterator[Rectangle]:
    """Yield the rectangles whose sides are up to `reach` lengths shorter or longer, and itself."""
    lengths = _steps if is_alone else _shares
    wafer = largest_rectangle(machine.architecture)
    width, height = (
        _near(side, lengths(longest), reach) for side, longest in zip(rectangle, wafer, strict=True)
    )
    yield from product(width, height)


def _holding(machine: Machine, least_bytes: float, lengths: _Lengths) -> tuple[Rectangle, ...]:
    architecture = machine.architecture
    wafer = largest_rectangle(architecture)
    least_pes = -(-least_bytes // architecture.memory_bytes)
    return *(one for one in _nearly_square(wafer, lengths) if math.prod(one) >= least_pes), wafer


@lru_cache(maxsize=8)
def _nearly_square(wafer: Rectangle, lengths: _Lengths) -> tuple[Rectangle, ...]:
    """Return all rectangles of `lengths` except the whole wafer, small ones first."""
    found = (
        (width, height)
        for width, height in product(*map(lengths, wafer))
        if max(width, height) <= _MOST_UNEQUAL * min(width, height) and (width, height) != wafer
    )
    return tuple(sorted(found, key=lambda sides: (math.prod(sides), sides)))


@lru_cache(maxsize=8)
def _shares(side: int) -> tuple[int, ...]:
    """Return a side divided by 1, 2, 3, …, each length once."""
    return tuple(sorted({side // parts for parts in range(1, side + 1)}))


@lru_cache(maxsize=8)
def _steps(side: int) -> tuple[int, ...]:
    """Return lengths up to a side, each about `_GROWTH` times the one before."""
    count = max(2, math.ceil(math.log(side) / math.log(_GROWTH)))
    return tuple(sorted({int(length) for length in np.geomspace(1, side, count)}))


def _near(side: int, lengths: Sequence[int], reach: int) -> Sequence[int]:
    at = bisect_left(lengths, side)
    return lengths[max(0, at - reach) : at + reach + 1]
