"""A report for people at a terminal: a few lines, and all tables for those who ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from onewafer.execution.report import render_phases, render_programs, render_step
from onewafer.pytorch.report.elsewhere_table import render_elsewhere
from onewafer.pytorch.report.host_words import describe_host, describe_workers
from onewafer.pytorch.report.summary import render_summary
from onewafer.units import count_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from onewafer.pytorch.report.values import RunValues

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
