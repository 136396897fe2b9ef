"""Results as a table for people and as JSON for programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from statistics import median
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from onewafer import __version__
from onewafer.terminal import labelled, to_text
from onewafer.validation.case import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from onewafer.validation.case import Case, CaseResult, PointResult

FORMAT = "onewafer-validation-1"
TABLE_COLUMNS = 144
"""Width of the table where there is no terminal to fit it to."""

PAGE_HEAD = """\
# How close the fabric is to the real machine

<!-- Written by `onewafer validate fabric --page docs/explanation/validation.md`. -->

Every figure below was published for a real machine or for the vendor's simulator; ours comes from
a program that runs on the simulated one, measured by a rule that was fixed before it was run. A
case is *validation* if no constant of the machine model was taken from its figures or fitted on
them, and *calibration* otherwise: a calibration row shows that the model says what it was told,
nothing more. A miss stays in the table, with the reason as far as it is known. Constants are
changed only for a source, never to make a row fit.

Sources are those of [the machine model](machine.md): ALCF-CS3 and EPCC-CS3 measured a CS-3 (the
former also the vendor's simulator), NOWR gives closed forms that it holds against a CS-2 to 4 %,
ZHANG and SPMM are logs of SDK runs. Of the vendor's simulator are STN, a study of 2-D stencils
(SDK of December 2024), BENCH, a suite of benchmarks with reference cycles, SPIKE, micro-programs of
a graph-colouring project (both SDK 1.4), and GEMMLOG, an analysis of the log of a pipelined SUMMA.
The programs are ours, in `src/onewafer/validation/programs/`, written to do what a figure measures.
Where the program or the points of a source were found later, the rule was mended to what the
source did, whichever way that moves our figure: `one-word-sdk`, `counting-task-sdk`, `relay-sdk`
and `summa-step`.

Not in the table: figures of other people's programs as they are, an all-reduce over a library of
the vendor's examples ([here and there](optimiser.md#cycles)) and a 25-point stencil (64.8 cycles a
cell and step, 25PT). `onewafer validate fabric --only NAME` shows the
rule and all points of a case, `--json FILE` writes everything.
"""
_FAR = 0.25
_CASE_FIELDS = ("name", "machine", "profile", "quantity", "unit", "rule", "source", "kind", "basis")
_RULES_HEAD = """
## How each case is measured

| case | figure | rule | kind |
| --- | --- | --- | --- |"""


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
    table.add_column("machine", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    table.add_column("source")
    table.add_column("hits", justify="right", no_wrap=True)
    table.add_column("worst point", overflow="fold")
    for name in ("theirs", "ours", "error"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("target", no_wrap=True)
    for result in results:
        table.add_row(*_cells(result))
    parts: list[RenderableType] = [table]
    if missed := [result for result in results if not result.is_hit]:
        parts += [Text("\nWhy cases miss, as far as known", style="bold")]
        parts += [labelled(result.case.name, result.case.finding) for result in missed]
    if shortened := [result for result in results if result.skipped]:
        parts += [Text(f"\nPoints too large for the {engine} engine, not run", style="bold")]
        parts += [
            labelled(result.case.name, "; ".join(point.label for point in result.skipped))
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
        labelled("how", case.rule),
        labelled(case.kind, case.basis),
        table,
    )


def render_page(results: Sequence[CaseResult], *, engine: str, command: str) -> str:
    """Return the page of the manual: the table as the command prints it, and every rule."""
    rules = [rule_row(result.case) for result in results]
    table = (
        f"\n```console\n$ {command}\n{to_text(render(results, engine=engine), TABLE_COLUMNS)}```\n"
    )
    return "\n".join((PAGE_HEAD + table + _RULES_HEAD, *rules)) + "\n"


def rule_row(case: Case) -> str:
    """Return the row of the page with the rule of a case."""
    return (
        f"| `{case.name}` | {case.quantity} ({case.unit}) | {case.rule} "
        f"| {case.kind}: {case.basis} |"
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
    lines = [f"{'; '.join(counts)}. {points}.", *_errors_by_profile(results)]
    return Text("\n".join(lines), style="bold")


def _errors_by_profile(results: Sequence[CaseResult]) -> list[str]:
    """Return the errors of validation points by timing profile, in words."""
    lines: list[str] = []
    for profile in sorted({result.case.profile for result in results}):
        errors = [
            abs(point.error)
            for result in results
            if result.case.profile == profile and result.case.kind is Kind.VALIDATION
            for point in result.results
        ]
        if errors:
            num_far = sum(error > _FAR for error in errors)
            lines.append(
                f"validation on {profile}: median error {100 * median(errors):.1f} %, "
                f"{num_far} of {len(errors)} points further off than {100 * _FAR:g} %."
            )
    return lines


def _number(value: float) -> str:
    """Return a number without decimals from 100 on."""
    return f"{value:,.3f}".rstrip("0").rstrip(".") if abs(value) < 100 else f"{value:,.0f}"  # noqa: PLR2004  # three digits say enough


def _case_fields(result: CaseResult) -> dict[str, object]:
    case = result.case
    return {
        **{name: getattr(case, name) for name in _CASE_FIELDS},
        "target": asdict(case.target),
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
