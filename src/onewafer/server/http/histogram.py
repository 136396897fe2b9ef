"""A histogram that takes many equal values at once, read by prometheus-client."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SECONDS = (
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025,
    0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
)  # fmt: skip
"""Upper bounds of buckets: a wafer's token takes far less than a millisecond."""


class Histogram:
    """Counts of values in buckets, and their sum."""

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value, some times."""
        self._counts[bisect_left(self._bounds, value)] += times
        self._sum += value * times

    def observe_each(self, values: Sequence[float]) -> None:
        """Count several values."""
        bounds, counts = self._bounds, self._counts
        for value in values:
            counts[bisect_left(bounds, value)] += 1
        self._sum += sum(values)

    @property
    def total(self) -> float:
        """The sum of the values."""
        return self._sum

    @property
    def buckets(self) -> list[tuple[str, float]]:
        """Upper bounds, each with the number of values up to it.

        >>> histogram = Histogram((1.0, 2.0))
        >>> histogram.observe(1.5, times=3)
        >>> histogram.buckets
        [('1.0', 0), ('2.0', 3), ('+Inf', 3)]
        """
        names = [*map(repr, self._bounds), "+Inf"]
        return list(zip(names, accumulate(self._counts), strict=True))
