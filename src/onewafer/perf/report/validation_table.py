"""A validation as tables, as JSON and as a page of the manual."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from onewafer import __version__
from onewafer.terminal import to_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from onewafer.perf.validation_rows import ErrorStatistics, FigureResult, PerfValidation

VALIDATION_FORMAT = "onewafer-perf-validation-1"
VALIDATION_COLUMNS = 136
"""Width of the tables where there is no terminal to fit them to."""
_NAME_COLUMNS = 27
"""Width of the names of figures, which are cut at hyphens only."""
_NOTHING = "–"

PAGE_HEAD = """\
# How close the equations are to published figures

<!-- Written by `{command}`. -->

`onewafer compare` answers with equations: the closed form of the mesh program on the wafer, and
measured tables with a model of the serving engine on GPUs. This page recomputes what others have
published. A figure is *validation* if no constant of ours was fitted on it or taken from it,
*calibration* otherwise; a calibration row shows that the model says what it was told, nothing more.
Rules were fixed before they were run. A miss stays in the table, with the reason as far as it is
known.
"""


def render_validation(validation: PerfValidation) -> RenderableType:
    """Return the figures, the statistics, and why figures miss."""
    parts: list[RenderableType] = []
    if validation.figures:
        parts += [_figures(validation.figures), *_findings(validation.figures)]
    if validation.statistics:
        parts += [Text(), _statistics(validation.statistics)]
    if validation.notes:
        parts += [Text(), *(Text(f"• {note}") for note in validation.notes)]
    return Group(*parts, Text(), _summary(validation))


def validation_to_json(validation: PerfValidation) -> str:
    """Return every row as JSON; errors are fractions."""
    document = {
        "format": VALIDATION_FORMAT,
        "version": __version__,
        "figures": [_figure_fields(result) for result in validation.figures],
        "statistics": [{**asdict(row), "is_hit": row.is_hit} for row in validation.statistics],
        "notes": [*validation.notes],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def render_validation_page(validation: PerfValidation, *, command: str) -> str:
    """Return the page of the manual: the tables as the command prints them, rules and sources."""
    shown = to_text(render_validation(validation), VALIDATION_COLUMNS)
    rows = [
        f"| `{result.figure.name}` | {result.rule} | {result.figure.source}, "
        f"{result.figure.date} ({result.figure.confidence}) | {result.figure.role} |"
        for result in validation.figures
    ]
    rules = [
        "",
        "## How each figure is recomputed",
        "",
        "| figure | rule | source | kind |",
        "| --- | --- | --- | --- |",
        *rows,
        "",
    ]
    head = PAGE_HEAD.format(command=command)
    return "\n".join([head, "```console", f"$ {command}\n{shown}```", *rules])


def _figure_fields(result: FigureResult) -> dict[str, object]:
    fields = asdict(result.figure)
    del fields["note"]
    theirs = fields.pop("value")
    return {
        **fields,
        "theirs": theirs,
        "ours": result.ours,
        "range": result.range,
        "error": result.error,
        "target": result.target,
        "is_hit": result.is_hit,
        "rule": result.rule,
        "finding": result.finding,
    }


def _figures(results: Sequence[FigureResult]) -> Table:
    table = Table(title="Published figures, and ours", title_justify="left")
    table.add_column("figure", style="cyan", overflow="fold")
    table.add_column("system", no_wrap=True)
    table.add_column("quantity", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    for name in ("theirs", "ours", "error", "target"):
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        figure = result.figure
        table.add_row(
            _folded(figure.name),
            figure.system,
            figure.unit if figure.unit != "fraction" else figure.quantity,
            figure.role.value,
            _number(figure.value),
            _ours(result),
            *_verdict(result),
        )
    return table


def _folded(name: str) -> str:
    """Return a name on lines that end at hyphens.

    >>> print(_folded("megatron-bridge-25.11-llama-3.1-405b-h100"))
    megatron-bridge-25.11-
    llama-3.1-405b-h100
    """
    lines = [""]
    for part in re.findall(r"[^-]+-?", name):
        if len(lines[-1]) + len(part) > _NAME_COLUMNS:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def _ours(result: FigureResult) -> str:
    if result.ours is None:
        return _NOTHING
    if result.range is None:
        return _number(result.ours)
    low, high = result.range
    return f"{_number(result.ours)} ({_number(low)} to {_number(high)})"


def _verdict(result: FigureResult) -> tuple[Text, str]:
    if result.error is None:
        return Text(_NOTHING), _NOTHING
    style = "" if result.is_hit else "red"
    return Text(f"{100 * result.error:+.1f} %", style=style), f"{100 * result.target:g} %"


def _findings(results: Sequence[FigureResult]) -> list[Text]:
    said = [result for result in results if result.finding and not result.is_hit]
    if not said:
        return []
    lines = [Text.assemble((f"{result.figure.name}: ", "cyan"), result.finding) for result in said]
    return [Text("\nWhy figures miss or are not compared, as far as known", "bold"), *lines]


def _statistics(rows: Sequence[ErrorStatistics]) -> Table:
    table = Table(
        title="Errors over measured points that no constant was fitted on", title_justify="left"
    )
    table.add_column("points", style="cyan")
    table.add_column("quantity")
    for name in ("number", "median error", "mean error", "bias", "target"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.group,
            row.quantity,
            f"{row.num_points:,}",
            Text(_percent(row.median_error), style="" if row.is_hit else "red"),
            _percent(row.mean_error),
            f"{100 * row.bias:+.1f} %",
            _NOTHING if row.target is None else f"{100 * row.target:g} %",
        )
    return table


def _summary(validation: PerfValidation) -> Text:
    computed = [result for result in validation.figures if result.ours is not None]
    tests = [result for result in computed if result.is_validation]
    judged = [row for row in validation.statistics if row.target is not None]
    said = [
        _counted("validation figures", [result.is_hit for result in tests]),
        _counted("calibration figures", [r.is_hit for r in computed if not r.is_validation]),
        _counted("groups of points", [row.is_hit for row in judged]),
    ]
    return Text("Within the target: " + "; ".join(part for part in said if part), style="bold")


def _counted(name: str, hits: Sequence[bool]) -> str:
    return f"{sum(hits)} of {len(hits)} {name}" if hits else ""


def _number(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 1_000 else f"{number:.3g}"  # noqa: PLR2004


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"
