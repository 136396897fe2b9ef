"""Measured latencies as factors on a formula, interpolated on a grid of sizes.

In: points (sizes, seconds) and the seconds of a formula at each. Out: the factor at any size. The
logarithm of seconds / formula is linear between neighbours on logarithmic axes, so that at a
measured point the answer is the measurement; beyond the grid the factor of its edge holds.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Measured sizes and times, all arrays of one length."""

    sizes: tuple[NDArray[np.float64], ...]
    """One array an axis, all positive."""
    seconds: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class LatencyTable:
    """Factors on a formula over a grid of sizes."""

    axes: tuple[tuple[float, ...], ...]
    """Logarithms of the sizes, increasing."""
    _strides: tuple[int, ...]
    _factors: tuple[float, ...] = field(repr=False)
    """Logarithms of measured / formula, the last axis fastest."""

    def factor(self, *sizes: float) -> float:
        """Return measured / formula at a size, one number an axis."""
        corners: list[tuple[tuple[int, float], tuple[int, float]]] = []
        for axis, stride, size in zip(self.axes, self._strides, sizes, strict=True):
            low, high, share = _bracket(axis, math.log(size))
            corners.append(((low * stride, 1 - share), (high * stride, share)))
        total = 0.0
        for corner in product(*corners):
            weight = math.prod(share for _, share in corner)
            if weight:
                total += weight * self._factors[sum(offset for offset, _ in corner)]
        return math.exp(total)


def build_table(points: Points, formula: NDArray[np.float64]) -> LatencyTable:
    """Return a table of points, given the seconds of a formula at each of them.

    If several points have the same sizes, the fastest counts, since an engine picks its kernel. A
    missing point of the grid takes the factor of the nearest point on an axis, the last axis first.
    """
    axes = tuple(np.unique(sizes) for sizes in points.sizes)
    grid = np.full([len(axis) for axis in axes], np.inf)
    where = tuple(np.searchsorted(a, s) for a, s in zip(axes, points.sizes, strict=True))
    np.minimum.at(grid, where, np.log(points.seconds / formula))
    grid[np.isinf(grid)] = np.nan
    for axis in reversed(range(grid.ndim)):
        grid = _filled(grid, axis)
    strides = tuple(stride // grid.itemsize for stride in grid.strides)
    return LatencyTable(
        tuple(tuple(np.log(axis).tolist()) for axis in axes), strides, tuple(grid.ravel().tolist())
    )


def _bracket(axis: tuple[float, ...], value: float) -> tuple[int, int, float]:
    """Return the grid points around a value and its fraction of the way between them."""
    high = bisect_right(axis, value)
    if high == 0:
        return 0, 0, 0.0
    if high == len(axis):
        return high - 1, high - 1, 0.0
    low = high - 1
    return low, high, (value - axis[low]) / (axis[high] - axis[low])


def _filled(grid: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Replace NaN by the value before it on an axis, or else by the one after it."""
    for direction in (1, -1):
        moved = np.moveaxis(grid, axis, 0)[::direction]
        index = np.where(
            np.isnan(moved), 0, np.arange(len(moved)).reshape(-1, *[1] * (grid.ndim - 1))
        )
        index = np.maximum.accumulate(index, axis=0)
        moved = np.take_along_axis(moved, index, axis=0)
        grid = np.ascontiguousarray(np.moveaxis(moved[::direction], 0, axis))
    return grid
