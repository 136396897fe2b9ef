"""Samplings of the points of a study: all of them, some in order, or some by chance.

    grid    every value of every axis with every value of the others, the last axis fastest
    list    the first value of every axis, then the second of every axis, …
    random  `count` points, each coordinate by chance
    latin   `count` points, so that each of `count` equal parts of every axis has one of them
            (Latin hypercube: McKay, Beckman, Conover, Technometrics 21, 1979)

Random numbers follow from `seed`, the same on every computer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from random import Random
from typing import TYPE_CHECKING

from onewafer.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from onewafer.sweep.inputs.axes import Axis
    from onewafer.sweep.inputs.plain import Plain

MOST_POINTS = 10_000_000
"""The most points of a study: more do not fit in memory."""


class Sampling(StrEnum):
    """The ways to choose points."""

    GRID = "grid"
    LIST = "list"
    RANDOM = "random"
    LATIN = "latin"

    @property
    def is_by_chance(self) -> bool:
        """True if points are random: a study gives their number and a seed."""
        return self in (Sampling.RANDOM, Sampling.LATIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The choice of a study's points: a sampling, a count and a seed."""

    sampling: Sampling = Sampling.GRID
    count: int = 0
    """Number of random points."""
    seed: int = 0

    def points(self, axes: Sequence[Axis]) -> Iterator[tuple[Plain, ...]]:
        """Yield the values of each point, in the order of the axes.

        Raises ConfigurationError for axes that do not fit together, and for too many points.
        """
        match self.sampling:
            case Sampling.GRID:
                values = [axis.values for axis in axes]
                _check_number(math.prod(map(len, values)))
                yield from product(*values)
            case Sampling.LIST:
                yield from _listed(axes)
            case Sampling.RANDOM:
                _check_number(self.count)
                chance = Random(self.seed)  # noqa: S311  # no secret
                for _ in range(self.count):
                    yield tuple(axis.at(chance.random()) for axis in axes)
            case Sampling.LATIN:
                _check_number(self.count)
                columns = (self._column(axis, place) for place, axis in enumerate(axes))
                yield from zip(*columns, strict=True)

    def _column(self, axis: Axis, place: int) -> list[Plain]:
        """Return one random value from each part of an axis, in random order."""
        chance = Random(f"{self.seed} {place}")  # noqa: S311  # no secret
        parts = sorted(range(self.count), key=lambda _: chance.random())
        return [axis.at((part + chance.random()) / self.count) for part in parts]


def _listed(axes: Sequence[Axis]) -> Iterator[tuple[Plain, ...]]:
    values = [axis.values for axis in axes]
    lengths = {axis.name: len(of_axis) for axis, of_axis in zip(axes, values, strict=True)}
    longest = max(lengths.values(), default=1)
    for name, length in lengths.items():
        if length not in (1, longest):
            raise ConfigurationError(
                f"points.sampling is list, which takes one value of every axis for each point: "
                f"axes.{name} has {length:,}, another has {longest:,}"
            )
    for number in range(longest):
        yield tuple(of_axis[min(number, len(of_axis) - 1)] for of_axis in values)


def _check_number(count: int) -> None:
    if count > MOST_POINTS:
        raise ConfigurationError(
            f"the study has {count:,} points; {MOST_POINTS:,} are possible. Take fewer values, or "
            'points by chance: sampling = "latin", count = 10000'
        )
