"""Results as a table for people and as JSON for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from onewafer import __version__
from onewafer.validation.case import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from onewafer.validation.case import CaseResult, PointResult

FORMAT = "onewafer-validation-1"


def to_json(results: Sequence[CaseResult], *, engine: str) -> str:
    """Return everything that was measured, points that were skipped included."""
    document = {
        "format": FORMAT,
        "version": __version__,
        "engine": engine,
        "cases": [_case_fields(result) for result in results],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def render(results: Sequence[CaseResult], *, engine: str) -> RenderableType:
    """Return a table with a row a case, what was found about the misses, and the totals."""
    table = Table(
        title="Published figures of the real machines, and ours",
        title_justify="left",
        caption=(
            "ours, theirs and error: the point of the case that is worst; a miss before a hit"
        ),
        caption_justify="left",
    )
    table.add_column("case", style="cyan", no_wrap=True)
    for name in ("machine", "kind", "source"):
        table.add_column(name)
    table.add_column("hits", justify="right", no_wrap=True)
    table.add_column("worst point")
    for name in ("theirs", "ours", "error"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("target", no_wrap=True)
    for result in results:
        table.add_row(*_cells(result))
    parts: list[RenderableType] = [table]
    if missed := [result for result in results if not result.is_hit]:
        parts += [Text("\nWhy cases miss, as far as it was found", style="bold")]
        parts += [_labelled(result.case.name, result.case.finding) for result in missed]
    if shortened := [result for result in results if result.skipped]:
        parts += [Text(f"\nPoints too large for the {engine} engine, not run", style="bold")]
        parts += [
            _labelled(result.case.name, "; ".join(point.label for point in result.skipped))
            for result in shortened
        ]
    return Group(*parts, Text(), _summary(results, engine))


def render_details(result: CaseResult) -> RenderableType:
    """Return how a case is measured, and every point."""
    case = result.case
    table = Table(box=None, pad_edge=False)
    table.add_column("point")
    for name in ("theirs", "ours", "difference", "error"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for point in result.results:
        table.add_row(
            Text(point.point.label),
            _number(point.point.theirs),
            _number(point.ours),
            f"{point.difference:+.3g}",
            f"{100 * point.error:+.1f} %",
            "" if point.is_hit else Text("miss", style="red"),
        )
    for point in result.skipped:
        table.add_row(Text(point.label), _number(point.theirs), "–", "–", "–", "not run")
    return Group(
        Text(f"\n{case.name}: {case.quantity} ({case.unit})", style="bold"),
        _labelled("how", case.rule),
        _labelled(case.kind, case.basis),
        table,
    )


def _cells(result: CaseResult) -> tuple[str | Text, ...]:
    case = result.case
    hits = f"{result.num_hits}/{len(result.results)}"
    opening = (case.name, f"{case.machine} {case.profile}", case.kind, case.source)
    if not result.results:
        return (*opening, hits, "none run", "–", "–", "–", str(case.target))
    worst = result.worst
    style = "green" if result.is_hit else "red"
    return (
        *opening,
        Text(hits, style=style),
        Text(worst.point.label),
        _number(worst.point.theirs),
        _number(worst.ours),
        Text(f"{100 * worst.error:+.1f} %", style=style),
        str(case.target),
    )


def _summary(results: Sequence[CaseResult], engine: str) -> Text:
    counts = [
        f"{kind}: {sum(r.is_hit for r in of_kind)} of {len(of_kind)} cases within target"
        for kind in Kind
        if (of_kind := [r for r in results if r.case.kind is kind])
    ]
    num_run = sum(len(result.results) for result in results)
    num_skipped = sum(len(result.skipped) for result in results)
    points = f"{num_run} points on the {engine} engine, {num_skipped} not run"
    return Text(f"{'; '.join(counts)}. {points}.", style="bold")


def _labelled(label: str, text: str) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="cyan", no_wrap=True)
    grid.add_column()
    grid.add_row(label, Text(text))
    return grid


def _number(value: float) -> str:
    """Return cycles without, rates with their decimals."""
    return f"{value:,.3f}".rstrip("0").rstrip(".") if abs(value) < 100 else f"{value:,.0f}"  # noqa: PLR2004  # three digits say enough


def _case_fields(result: CaseResult) -> dict[str, object]:
    case = result.case
    return {
        "name": case.name,
        "machine": case.machine,
        "profile": case.profile,
        "quantity": case.quantity,
        "unit": case.unit,
        "rule": case.rule,
        "target": {"relative": case.target.relative, "absolute": case.target.absolute},
        "source": case.source,
        "kind": case.kind,
        "basis": case.basis,
        "is_hit": result.is_hit,
        "finding": case.finding if not result.is_hit else "",
        "points": [_point_fields(point) for point in result.results],
        "skipped": [point.label for point in result.skipped],
    }


def _point_fields(result: PointResult) -> dict[str, object]:
    return {
        "label": result.point.label,
        "theirs": result.point.theirs,
        "ours": result.ours,
        "error": result.error,
        "is_hit": result.is_hit,
    }
