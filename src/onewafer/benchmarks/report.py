"""Outcomes as tables for people and as JSON for programs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from onewafer.benchmarks.catalog import BENCHMARKS
from onewafer.benchmarks.figures import Figure, median_cpu
from onewafer.benchmarks.runner import MET_IN_CPU_TIME
from onewafer.terminal import labelled, to_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from onewafer.benchmarks.curves import CurveResult
    from onewafer.benchmarks.facts import Facts
    from onewafer.benchmarks.figures import Goal, Measurement
    from onewafer.benchmarks.runner import Outcome

FORMAT = "onewafer-benchmarks-1"
TABLE_COLUMNS = 140
"""Width of the tables where there is no terminal to fit them to."""
_MEBIBYTE = 1 << 20

_RATES = {
    Figure.HOPS: "hops/s",
    Figure.HOPS_WITH_RAMP: "with ramp",
    Figure.ELEMENTS: "elem./s",
    Figure.INSTRUCTIONS: "instr./s",
    Figure.PE_CYCLES: "PE-cyc./s",
    Figure.COMPILE_PES: "compiled PEs/s",
}
"""Columns of the second table, with their titles."""
_WITHOUT_GOAL = (Figure.VERSION_SECONDS, Figure.COMPILED_USE_SECONDS)
"""Figures that the first table shows without a goal, too; the second table lacks them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Everything that one command measured."""

    engine: str
    facts: Facts
    outcomes: tuple[Outcome, ...]
    curves: tuple[CurveResult, ...] = ()
    threads: int = 1

    @property
    def not_run(self) -> tuple[str, ...]:
        """Names of the benchmarks that were not chosen."""
        run = {outcome.benchmark.name for outcome in self.outcomes}
        return tuple(b.name for b in BENCHMARKS if b.name not in run)


def to_json(results: Results) -> str:
    """Return everything: figures, goals, counts and every sample."""
    document = {
        "format": FORMAT,
        "engine": results.engine,
        "threads": results.threads,
        "computer": results.facts.to_fields(),
        "benchmarks": [_outcome_fields(outcome) for outcome in results.outcomes],
        "not_run": list(results.not_run),
        "curves": [
            {
                "name": result.curve.name,
                "x": result.curve.x_label,
                "series": [
                    {
                        "label": series.label,
                        "points": [
                            {"x": x, **_outcome_fields(outcome)} for x, outcome in series.points
                        ],
                    }
                    for series in result.series
                ],
            }
            for result in results.curves
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def render(results: Results) -> RenderableType:
    """Return the goals, the rates, what failed and what was not run, and the computer."""
    parts: list[RenderableType] = []
    if any(True for outcome in results.outcomes for _ in _rows(outcome)):
        parts += [_goal_table(results.outcomes), Text()]
    if any(_has_run(outcome) for outcome in results.outcomes):
        parts += [_rate_table(results.outcomes), Text()]
    if failed := [outcome for outcome in results.outcomes if outcome.measurement is None]:
        parts.append(Text("Not measured", style="bold"))
        parts += [labelled(outcome.benchmark.name, outcome.failure) for outcome in failed]
        parts.append(Text())
    if missed := [outcome for outcome in results.outcomes if _needs_finding(outcome)]:
        parts.append(Text("Why goals are missed, as far as known", style="bold"))
        findings: dict[str, list[str]] = {}
        for outcome in missed:
            findings.setdefault(outcome.benchmark.finding, []).append(outcome.benchmark.name)
        parts += [labelled(", ".join(names), finding) for finding, names in findings.items()]
        parts.append(Text())
    if results.not_run:
        parts += [Text(f"Not run: {', '.join(results.not_run)}."), Text()]
    parts += [Text(_summary(results), style="bold"), *map(Text, results.facts.lines())]
    return Group(*parts)


def render_text(results: Results) -> str:
    """Return the tables as plain text."""
    return to_text(render(results), TABLE_COLUMNS)


def _goal_table(outcomes: Sequence[Outcome]) -> Table:
    table = Table(title="Figures and goals", title_justify="left")
    table.add_column("benchmark", style="cyan", no_wrap=True)
    table.add_column("what runs")
    table.add_column("figure", no_wrap=True)
    table.add_column("ours", justify="right", no_wrap=True)
    table.add_column("CPU", justify="right", no_wrap=True)
    table.add_column("goal", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for outcome in outcomes:
        opening = (outcome.benchmark.name, Text(outcome.benchmark.describe(outcome.sizes)))
        for *cells, verdict in _rows(outcome):
            table.add_row(*opening, *cells, Text(verdict, style=_style(verdict)))
            opening = ("", "")
    return table


def _rows(outcome: Outcome) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield figure, value, processor time, goal and verdict, for the first table."""
    measurement = outcome.measurement
    for goal in outcome.benchmark.goals:
        values = _values(goal.figure, measurement)
        yield goal.figure.label, *values, str(goal), outcome.verdict(goal)
    judged = {goal.figure for goal in outcome.benchmark.goals}
    for figure in measurement.figures if measurement else ():
        if figure in _WITHOUT_GOAL and figure not in judged:
            yield figure.label, *_values(figure, measurement), "–", "no goal"


def _needs_finding(outcome: Outcome) -> bool:
    verdicts = (outcome.verdict(goal) for goal in outcome.benchmark.goals)
    return bool(outcome.benchmark.finding) and any(v.startswith("missed") for v in verdicts)


def _values(figure: Figure, measurement: Measurement | None) -> tuple[str, str]:
    """Return a figure, and its processor time if it is a time."""
    if measurement is None or figure not in measurement.figures:
        return "–", "–"
    cpu_seconds = measurement.cpu_seconds.get(figure)
    by_cpu = "–" if cpu_seconds is None else figure.show(cpu_seconds)
    return figure.show(measurement.figures[figure]), by_cpu


def _style(verdict: str) -> str:
    if verdict == "met":
        return "green"
    return "red" if verdict.startswith("missed") else ""


def _rate_table(outcomes: Sequence[Outcome]) -> Table:
    table = Table(
        title="Rates by processor seconds (medians), and what they come from",
        title_justify="left",
    )
    table.add_column("benchmark", style="cyan", no_wrap=True)
    for name in ("PEs", "cycles", "run CPU s", *_RATES.values(), "load s", "peak MiB"):
        table.add_column(name, justify="right")
    for outcome in outcomes:
        if outcome.measurement is not None and _has_run(outcome):
            table.add_row(outcome.benchmark.name, *_rate_cells(outcome.measurement))
    return table


def _has_run(outcome: Outcome) -> bool:
    return outcome.measurement is not None and bool(outcome.measurement.counts)


def _rate_cells(measurement: Measurement) -> Iterator[str]:
    counts, figures = measurement.counts, measurement.figures
    yield f"{counts['pes']:,}"
    yield f"{counts['cycles']:,}"
    runs = measurement.durations.get("run") or measurement.durations["first_run"]
    yield f"{median_cpu(runs):.3g}"
    for figure in _RATES:
        yield figure.show(figures[figure]) if figure in figures else "–"
    load = measurement.durations["load"][0]
    yield f"{load.wall_seconds:.2f}"
    yield f"{measurement.peak_bytes / _MEBIBYTE:,.0f}" if measurement.peak_bytes else "–"


def _summary(results: Results) -> str:
    verdicts = [o.verdict(goal) for o in results.outcomes for goal in o.benchmark.goals]
    num_met = verdicts.count("met")
    num_missed = sum(verdict.startswith("missed") for verdict in verdicts)
    num_busy = verdicts.count(MET_IN_CPU_TIME)
    others = len(verdicts) - num_met - num_missed - num_busy
    busy = f"{num_busy} {MET_IN_CPU_TIME} (the computer was busy), " if num_busy else ""
    return (
        f"Goals: {num_met} met, {busy}{num_missed} missed, {others} not judged. "
        f"{results.engine} engine, "
        f"{_describe_repeats(results.outcomes)}."
    )


def _describe_repeats(outcomes: Sequence[Outcome]) -> str:
    repeats = {outcome.repeat for outcome in outcomes}
    several = max(repeats, default=0)
    parts = [f"medians of {several} runs after a first"] if several else []
    return ", ".join(parts + (["large ones run once"] if 0 in repeats else []))


def _outcome_fields(outcome: Outcome) -> dict[str, Any]:
    measured = outcome.measurement.to_fields() if outcome.measurement else None
    return {
        "name": outcome.benchmark.name,
        "title": outcome.benchmark.describe(outcome.sizes),
        "sizes": dict(outcome.sizes),
        "repeat": outcome.repeat,
        "measurement": measured,
        "failure": outcome.failure,
        "finding": outcome.benchmark.finding if _needs_finding(outcome) else "",
        "goals": [_goal_fields(goal, outcome) for goal in outcome.benchmark.goals],
    }


def _goal_fields(goal: Goal, outcome: Outcome) -> dict[str, Any]:
    bound = "at_least" if goal.at_least is not None else "at_most"
    return {
        "figure": goal.figure.value,
        bound: goal.at_least if goal.at_least is not None else goal.at_most,
        "verdict": outcome.verdict(goal),
    }
