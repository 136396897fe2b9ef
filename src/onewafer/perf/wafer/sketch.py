"""Estimated cycles of unmeasured rectangles: a form that is fitted to measured ones.

cycles of w × h PEs for n rows ≈ a · f(w, h) + n · b · f(w, h),  a, b ≥ 0
f(w, h) = 1, w, h, √w, √h, 1/w, 1/h, 1/(w·h)

Divided work takes 1/(w·h), or 1/w and 1/h where only one axis divides it; chains take the length of
an axis, or its root in two phases. The form selects the rectangles to measure, out of thousands.
None of its numbers is in an answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from onewafer.perf.wafer.measured import Rectangle

    Floats = NDArray[np.float64]
    Sides = NDArray[Any]
    """Widths and heights, `[rectangles, 2]`."""

_RIDGE = 1e-9
"""Added to the diagonal of the normal equations, which terms alike on all points make singular."""
_LEAST = 1e-9
"""Numbers below this count as zero in the fit, whose numbers are about 1."""


@dataclass(slots=True)
class Sketch:
    """The cycles of a piece on any rectangle, for any number of rows."""

    _points: dict[tuple[int, Rectangle], float] = field(
        default_factory=dict[tuple[int, "Rectangle"], float]
    )
    """Cycles of mesh programs, by rows and rectangle."""

    def learn(self, rows: int, rectangle: Rectangle, cycles: float) -> None:
        """Add the measured cycles of a mesh program."""
        self._points[rows, rectangle] = cycles

    @property
    def has_points(self) -> bool:
        """True if any program was measured."""
        return bool(self._points)

    def num_points(self, rows: int) -> int:
        """Return the number of measured programs for `rows`."""
        return sum(of == rows for of, _ in self._points)

    def cycles(self, rows: int, sides: Sides) -> Floats:
        """Return the estimated cycles of rectangles for `rows`; there must be a measured point."""
        return _forms(np.array([float(rows)]), sides) @ self._fit(rows)

    def _fit(self, rows: int) -> Floats:
        """Return a and b; points with rows near `rows` have more weight."""
        known = np.array([of for of, _ in self._points], float)
        weights = np.minimum(known, rows) / np.maximum(known, rows)
        forms = _forms(known, np.array([rectangle for _, rectangle in self._points]))
        cycles = np.array([*self._points.values()])
        return non_negative(forms * (weights / cycles)[:, np.newaxis], weights)


def _forms(rows: Floats, sides: Sides) -> Floats:
    width, height = np.asarray(sides, float).T
    root_x, root_y = np.sqrt(width), np.sqrt(height)
    forms = (np.ones_like(width), width, height, root_x, root_y)
    shares = (1 / width, 1 / height, 1 / (width * height))
    once = np.stack([*forms, *shares], axis=1)
    return np.hstack([once, once * rows[:, np.newaxis]])


def non_negative(matrix: Floats, wanted: Floats) -> Floats:
    """Return approximately the x ≥ 0 that minimises |`matrix` · x − `wanted`|.

    By Lawson and Hanson: the term that helps most is added until none helps; terms that turn
    negative are dropped.

    >>> non_negative(np.array([[1.0, 1.0], [1.0, 2.0], [1.0, 3.0]]), np.array([3.0, 2.0, 1.0]))
    array([2., 0.])
    """
    scale = np.maximum(np.abs(matrix).max(axis=0), np.finfo(float).tiny)
    matrix = matrix / scale
    squares, products = matrix.T @ matrix, matrix.T @ wanted
    squares += np.eye(len(scale)) * (_RIDGE * len(matrix))
    found, used = np.zeros(len(scale)), np.zeros(len(scale), np.bool_)
    for _ in range(2 * len(scale)):
        gains = np.where(used, -np.inf, products - squares @ found)
        best = int(np.argmax(gains))
        if gains[best] <= _LEAST * len(matrix):
            break
        used[best] = True
        found = _settle(squares, products, found, used)
    return found / scale


def _settle(squares: Floats, products: Floats, found: Floats, used: NDArray[np.bool_]) -> Floats:
    """Return the best nonnegative fit of the terms in use, dropping those that turn negative."""
    while True:
        trial = np.zeros_like(found)
        trial[used] = np.linalg.solve(squares[np.ix_(used, used)], products[used])
        falling = used & (trial <= 0)
        if not falling.any():
            return trial
        step = (found[falling] / (found[falling] - trial[falling])).min()
        found = found + step * (trial - found)
        used &= found > _LEAST * found.max(initial=0.0)
        found = np.where(used, found, 0.0)


def spread(rectangles: Sequence[Rectangle], most: int) -> list[Rectangle]:
    """Return `most` of the rectangles in order, evenly spread."""
    step = max(1.0, len(rectangles) / most)
    return [rectangles[int(at * step)] for at in range(min(most, len(rectangles)))]
