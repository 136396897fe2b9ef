"""The table of the work of a run on other systems, for people at a terminal."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from onewafer.units import format_joules, format_rate, format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import RenderableType

    from onewafer.execution.report import ProgramReport
    from onewafer.pytorch.report.values import OnSystem, Work

    _Row = tuple[str, str | None, Callable[[OnSystem], str | None]]


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
