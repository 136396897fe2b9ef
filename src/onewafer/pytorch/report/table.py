"""A report for people at a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from onewafer.execution.report import render_phases, render_programs, render_step
from onewafer.pytorch.report.elsewhere_table import render_elsewhere
from onewafer.pytorch.report.headline import describe_host, describe_workers, render_headline
from onewafer.units import count_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from onewafer.execution.report import ProgramReport
    from onewafer.pytorch.report.values import RunValues

_SHOWN_PROGRAMS = 3
"""Programs that get a column; the busiest ones."""


def render(report: RunValues, *, is_verbose: bool = False) -> RenderableType:
    """Return the report for a terminal; a verbose one names every place and every part."""
    shown = sorted(report.programs, key=lambda p: p.cycles, reverse=True)[:_SHOWN_PROGRAMS]
    parts: list[RenderableType] = [Text("onewafer report", style="bold"), *render_headline(report)]
    if shown:
        parts.append(render_programs(shown))
    left_out = len(report.programs) - len(shown)
    if left_out:
        more = count_of(left_out, "more program")
        parts.append(Text(f"and {more} with fewer cycles; --json has them all"))
    if shown:
        parts += _render_phases(shown[0])
    if report.elsewhere is not None:
        parts.append(render_elsewhere(report.elsewhere))
    parts.append(_render_calls(report, is_verbose=is_verbose))
    return Group(*parts)


def _render_phases(program: ProgramReport) -> Iterator[RenderableType]:
    """Yield the tables of what a program does: a training step, and calls without one."""
    if program.step is not None:
        yield render_step(program, program.step)
    if any(not phase.phase.trains for phase in program.phases):
        yield render_phases(program)


def _render_calls(report: RunValues, *, is_verbose: bool) -> Table:
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
    lines = describe_host(report.host, is_verbose=is_verbose)
    table.add_row("on the host", "\n".join(lines) or "nothing")
    return table
