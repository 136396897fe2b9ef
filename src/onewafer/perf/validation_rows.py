"""Rows of a validation: published figures one by one, and errors over many measured points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.perf.published import Role, published_figures

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.perf.published import PublishedFigure


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureResult:
    """One published figure beside our value."""

    figure: PublishedFigure
    ours: float | None
    """In the figure's unit; None: not computed, for the reason in `finding`."""
    target: float
    """Largest allowed error, as a fraction of the published value."""
    rule: str
    """How our value is computed, fixed before it was run."""
    range: tuple[float, float] | None = None
    """Our values at both ends of an unknown range, as that of published clocks."""
    finding: str = ""
    """Why our value misses, as far as known, or why it cannot be compared."""

    @property
    def error(self) -> float | None:
        """(ours − theirs) / theirs."""
        if self.ours is None:
            return None
        return (self.ours - self.figure.value) / self.figure.value

    @property
    def is_hit(self) -> bool:
        """True if our value is within the target."""
        return self.error is not None and abs(self.error) <= self.target

    @property
    def is_validation(self) -> bool:
        """True if the figure tests the equations: computed, and no constant was fitted on it."""
        return self.ours is not None and self.figure.role is Role.VALIDATION


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorStatistics:
    """Errors over a group of measured points that no constant was fitted on."""

    group: str
    """The group's name: `h100 · vllm · qwen3-32b`."""
    quantity: str
    """`tpot_seconds` or `ttft_seconds`."""
    num_points: int
    mean_error: float
    """Mean of `abs(ours − theirs) / theirs`."""
    median_error: float
    """Median of the same."""
    bias: float
    """Median of (ours − theirs) / theirs."""
    target: float | None = None
    """Target of the median; None: the group has no target."""

    @property
    def is_hit(self) -> bool:
        """True if the median meets the target; true without a target."""
        return self.target is None or self.median_error <= self.target


@dataclass(frozen=True, slots=True, kw_only=True)
class PerfValidation:
    """All rows of a validation."""

    figures: tuple[FigureResult, ...] = ()
    statistics: tuple[ErrorStatistics, ...] = ()
    notes: tuple[str, ...] = ()
    """Points left out and why, and the origin of the points."""

    @property
    def is_hit(self) -> bool:
        """True if every computed validation figure and every group meets its target."""
        figures = (result.is_hit for result in self.figures if result.is_validation)
        return all(figures) and all(row.is_hit for row in self.statistics)

    def __add__(self, other: PerfValidation) -> PerfValidation:
        """Return the rows of both."""
        return PerfValidation(
            figures=self.figures + other.figures,
            statistics=self.statistics + other.statistics,
            notes=self.notes + other.notes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputed:
    """The equations' value of one figure; the fields are those of `FigureResult`."""

    ours: float | None
    finding: str
    range: tuple[float, float] | None = None


def recompute(
    topic: str,
    compute: Callable[[PublishedFigure], Recomputed],
    *,
    target: float,
    rule: str,
    progress: Callable[[str], None] | None = None,
) -> tuple[FigureResult, ...]:
    """Return every figure of a topic with our value; incomparable figures are not computed.

    `progress` is called with the name of each figure before it is computed.
    """
    results: list[FigureResult] = []
    for figure in published_figures(topic):
        if progress is not None:
            progress(figure.name)
        is_comparable = figure.conditions.get("is_comparable", True)
        found = compute(figure) if is_comparable else Recomputed(ours=None, finding=figure.note)
        results.append(
            FigureResult(
                figure=figure,
                ours=found.ours,
                target=target,
                rule=rule,
                range=found.range,
                finding=found.finding,
            )
        )
    return tuple(results)
