"""A report for people at a terminal: a few lines, and all tables for those who ask."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from onewafer.execution.report import render_phases, render_programs, render_step
from onewafer.pytorch.report.host_words import describe_host, describe_workers
from onewafer.pytorch.report.summary import render_summary
from onewafer.units import count_of, format_joules, format_rate, format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import RenderableType

    from onewafer.execution.report import ProgramReport
    from onewafer.pytorch.report.values import OnSystem, RunValues, Work

    _Row = tuple[str, str | None, Callable[[OnSystem], str | None]]

_SHOWN_PROGRAMS = 3
"""Programs that get a column; the busiest ones."""


def render(report: RunValues, *, is_verbose: bool = False) -> RenderableType:
    """Return the report for a terminal: what to know first, and, if verbose, all tables."""
    tables = _render_tables(report) if is_verbose else ()
    return Group(render_summary(report, is_verbose=is_verbose), *tables)


def _render_tables(report: RunValues) -> Iterator[RenderableType]:
    """Yield the tables of the busiest programs, of their work elsewhere, and of all calls."""
    shown = sorted(report.programs, key=lambda p: p.cycles, reverse=True)[:_SHOWN_PROGRAMS]
    if shown:
        yield render_programs(shown)
    left_out = len(report.programs) - len(shown)
    if left_out:
        more = count_of(left_out, "more program")
        yield Text(f"and {more} with fewer cycles; --json has them all")
    for program in shown[:1]:
        if program.step is not None:
            yield render_step(program, program.step)
        if any(not phase.phase.trains for phase in program.phases):
            yield render_phases(program)
    if report.work is not None and report.work.elsewhere:
        yield render_elsewhere(report.programs[report.work.program], report.work)
    yield _render_calls(report)


def _render_calls(report: RunValues) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("calls on the wafer", f"{report.wafer_calls:,}")
    table.add_row(
        "compilations", f"{report.compilations} ({report.recompilations} of them recompilations)"
    )
    if report.inner_calls:
        inner = [f"{c.calls:,} × {c.module} of {c.whole}, on the wafer" for c in report.inner_calls]
        table.add_row("inner calls", "\n".join(inner))
    if report.workers:
        table.add_row("in workers", "\n".join(describe_workers(report.workers)))
    lines = describe_host(report.host, is_verbose=True)
    table.add_row("on the host", "\n".join(lines) or "nothing")
    return table


def render_elsewhere(program: ProgramReport, work: Work) -> RenderableType:
    """Return the figures of all systems that can do the work, a column each, and what they mean."""
    able = [found for found in work.elsewhere if found.refusal is None]
    return Group(
        Text(f"{program.module}, {work.what}, here and elsewhere", style="bold"),
        *([_table(program, work, able)] if able else []),
        *(Text(line) for line in _explain(work.elsewhere)),
    )


def _table(program: ProgramReport, work: Work, able: list[OnSystem]) -> Table:
    table = Table(show_header=False)
    table.add_column(style="cyan", no_wrap=True)
    for _ in (work, *able):
        table.add_column(justify="right")
    heads = (Text(name, style="bold") for name in (program.arch, *(one.system for one in able)))
    table.add_row("system", *heads)
    table.add_section()
    for name, here, show in _rows(program, work):
        cells = [here, *(show(one) for one in able)]
        if any(cells):
            table.add_row(name, *(cell or "–" for cell in cells))
    return table


def _rows(program: ProgramReport, work: Work) -> tuple[_Row, ...]:
    """Return name, cell of the wafer, and cell of another system, of each row."""
    what = "tokens" if program.is_in_tokens else "samples"
    machine = f"{program.width}×{program.height} PEs, {program.fidelity}"
    energy = work.energy
    of_pes = None if energy is None else format_joules(energy.joules_of_pes)
    of_system = None if energy is None else format_joules(energy.joules)
    return (
        ("machine", machine, lambda one: one.title),
        ("precision", program.dtype, lambda one: one.precision),
        ("time", format_seconds(work.seconds), lambda one: _or_none(one.seconds, format_seconds)),
        (
            f"{what}/s",
            format_rate(work.rows_per_second),
            lambda one: _or_none(one.rows_per_second, format_rate),
        ),
        ("energy, PEs used", of_pes, lambda _: None),
        ("energy, all of it", of_system, lambda one: _or_none(one.joules, format_joules)),
        ("FLOP utilisation", None, lambda one: _or_none(one.mfu, _percent)),
        ("limit", None, lambda one: one.limit),
        ("± median error", None, lambda one: one.error and _percent(one.error.median)),
    )


def _or_none(value: float | None, show: Callable[[float], str]) -> str | None:
    return None if value is None else show(value)


def _explain(found: Sequence[OnSystem]) -> Iterator[str]:
    """Yield a line for each reason and each note, which may be of several systems."""
    systems: defaultdict[str, list[str]] = defaultdict(list)
    for one in found:
        if one.refusal is not None:
            systems[f"cannot: {one.refusal}"].append(one.system)
        if one.error is not None:
            smaller = "" if one.is_compared else "; of models this small there are none"
            systems[f"such figures are off by {one.error}{smaller}"].append(one.system)
        if one.mapping is not None:
            systems[f"mapping: {one.mapping}"].append(one.system)
        if one.energy_basis is not None:
            systems[f"energy: {one.energy_basis}"].append(one.system)
        for note in one.notes:
            systems[note].append(one.system)
    for note, names in systems.items():
        yield f"{', '.join(names)}: {note}"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.3g} %"
