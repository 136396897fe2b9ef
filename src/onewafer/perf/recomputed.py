"""Recompute the published figures of one topic by the equations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.perf.published import published_figures
from onewafer.perf.validation_rows import FigureResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.perf.published import PublishedFigure


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
