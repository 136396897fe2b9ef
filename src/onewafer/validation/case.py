"""A published figure as a value: what was measured, how we measure it, what counts as a hit.

A `Case` is written before it is run. Its `rule` says how every point is measured; its `kind` says
whether the machine model was made from the figure.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.validation.bench import Bench


class Kind(StrEnum):
    """The role of a published figure: a test of the model, or a source of its constants."""

    VALIDATION = "validation"
    """No constant of the catalog was fitted on the figure or taken from it."""
    CALIBRATION = "calibration"
    """At least one constant or rule was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The largest allowed error: the larger of a share of their value and an amount."""

    relative: float = 0.0
    """A fraction, not percent."""
    absolute: float = 0.0
    """In the unit of the case."""

    def allows(self, ours: float, theirs: float) -> bool:
        """Tell whether `ours` is near enough."""
        slack = 1e-9 * max(1.0, abs(theirs))  # rounding must not decide at the bound
        return abs(ours - theirs) <= max(self.relative * abs(theirs), self.absolute) + slack

    def __str__(self) -> str:
        """Return the bound as people write it: `max(4 %, 8)`."""
        parts = [f"{100 * self.relative:g} %"] if self.relative else []
        if self.absolute or not parts:
            parts.append(f"{self.absolute:g}" if self.absolute else "exact")
        return parts[0] if len(parts) == 1 else f"max({', '.join(parts)})"


@dataclass(frozen=True, slots=True)
class Point:
    """One published number."""

    label: str
    theirs: float
    sizes: tuple[int, ...] = ()
    """The arguments of `measure`, in the order that the case defines."""
    work: int = 0
    """Roughly the wavelet-hops, or DSD elements and instructions, that it takes to simulate."""


Measure: TypeAlias = "Callable[..., float]"
"""Runs a program on the `Bench` it is given first and returns the figure of the point whose `sizes`
follow, in the unit of the case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A published figure, or several figures that one rule measures."""

    name: str
    machine: str
    profile: str
    quantity: str
    unit: str = "cycles"
    rule: str
    """How the number is measured."""
    target: Target
    source: str
    kind: Kind
    basis: str
    """The reason of the kind: the constants that come from the figure, or their other sources."""
    measure: Measure
    points: tuple[Point, ...]
    finding: str = ""
    """Why points miss, as far as known; shown only if one does."""


@dataclass(frozen=True, slots=True)
class PointResult:
    """One point, measured."""

    point: Point
    ours: float
    is_hit: bool

    @property
    def difference(self) -> float:
        """Ours minus theirs."""
        return self.ours - self.point.theirs

    @property
    def error(self) -> float:
        """The difference as a fraction of theirs."""
        return self.difference / self.point.theirs


@dataclass(frozen=True, slots=True)
class CaseResult:
    """A case, run on one engine."""

    case: Case
    results: tuple[PointResult, ...]
    skipped: tuple[Point, ...]
    """Too large for the engine."""

    @property
    def num_hits(self) -> int:
        """Points within the target."""
        return sum(result.is_hit for result in self.results)

    @property
    def is_hit(self) -> bool:
        """True if every measured point is within the target."""
        return self.num_hits == len(self.results)

    @property
    def worst(self) -> PointResult:
        """The point to show: a miss before a hit, then the one with the largest error."""
        return max(self.results, key=lambda result: (not result.is_hit, abs(result.error)))


def run_case(case: Case, bench: Bench) -> CaseResult:
    """Measure every point that is not too large for the engine of `bench`."""
    affordable = [point for point in case.points if point.work <= bench.largest_work]
    results: list[PointResult] = []
    for point in affordable:
        ours = case.measure(bench, *point.sizes)
        results.append(PointResult(point, ours, case.target.allows(ours, point.theirs)))
    skipped = tuple(point for point in case.points if point not in affordable)
    return CaseResult(case, tuple(results), skipped)
