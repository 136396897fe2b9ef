"""The cost of a token or sample: one column per phase, one row per part of the layers."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from onewafer.execution.records import Phase
from onewafer.execution.report.simulation_words import show_origins
from onewafer.execution.sampling import LOOKS
from onewafer.units import count_of, format_hertz, format_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from onewafer.execution.report.values import PartReport, PhaseReport, ProgramReport

_CONTROL = "start and end"
_COLLECTIVES = "collectives"
_MEASURED_CELL = "{:>9} {:>4} {:>11}"
_NUM_MEASURED = 3
_EXPECTED_CELL = "{:>11} {:>5}"
_NOTE = (
    f"measured: the mean over PEs, from about {LOOKS} samples a launch; idle: counters;\n"
    "closed form: of the PE that is last (docs/explanation/costs.md)"
)


def render_phases(program: ProgramReport) -> RenderableType:
    """Return the table of a program's phases, without those of a training step."""
    phases = [phase for phase in program.phases if not phase.phase.trains]
    row = "token" if program.is_in_tokens else "sample"
    table = Table(show_header=False)
    table.add_column(style="cyan", no_wrap=True)
    for _ in phases:
        table.add_column(justify="right", no_wrap=True)
    table.add_row(f"costs of a {row}", *(Text(phase.phase, style="bold") for phase in phases))
    table.add_section()
    has_several = program.cache is not None and program.cache.sequences > 1
    for name, cells in _figures(phases, row, program.clock_hertz, has_several=has_several):
        if any(cells):
            table.add_row(name, *cells)
    table.add_section()
    is_measured = phases[0].busy_pe_fraction is not None
    heads = ("measured", "", "closed form") if is_measured else ("closed form", "share")
    table.add_row("cycles by part", *[_cell(*heads)] * len(phases))
    for name, cells in _parts(phases):
        table.add_row(name, *cells)
    if not is_measured:
        return table
    return Group(table, Text(_NOTE, style="dim"))


def _cell(*figures: str) -> str:
    form = _MEASURED_CELL if len(figures) == _NUM_MEASURED else _EXPECTED_CELL
    return form.format(*figures)


def _figures(
    phases: Sequence[PhaseReport], row: str, clock_hertz: float, *, has_several: bool
) -> Iterator[tuple[str, list[str]]]:
    """Yield rows, without those of samples that the table of programs has.

    In launches with tokens of several sequences, a token costs its share of the launch.
    """
    mixed = [phase for phase in phases if phase.phase is not Phase.BATCH]
    yield f"{row}s", [f"{p.rows:,} in {count_of(p.calls, 'call')}" for p in mixed]
    yield "computed again", [f"{p.again:,} {row}s" if p.again else "" for p in mixed]
    yield f"{row}s a launch", [f"{p.rows / p.launches:,.1f}" if has_several else "" for p in mixed]
    yield "launches", [show_origins(p.origins) if p.origins else "" for p in mixed]
    yield "cycles", [f"{p.cycles_per_row:,.0f}" for p in phases]
    yield "closed form", [_error(p) for p in phases]
    yield "time", [format_seconds(p.seconds_per_row) for p in mixed]
    name = f"{row}s/s, {format_hertz(clock_hertz)}"
    yield name, [f"{p.rows_per_second:,.0f}" for p in phases]
    yield "PEs busy", [_percent(p.busy_pe_fraction) for p in mixed]
    yield "links busy", [_percent(p.busy_link_fraction) for p in mixed]


def _error(phase: PhaseReport) -> str:
    """Return the closed form and its error; nothing if there are only closed forms."""
    if phase.busy_pe_fraction is None:
        return ""
    return f"{phase.expected_cycles_per_row:,.0f} ({phase.expected_error:+.1%})"


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{fraction:.1%}"


def _parts(phases: Sequence[PhaseReport]) -> Iterator[tuple[str, list[str]]]:
    columns = [_by_name(phase) for phase in phases]
    for name in dict.fromkeys(name for column in columns for name in column):
        yield name, [column.get(name, "") for column in columns]


def _by_name(phase: PhaseReport) -> dict[str, str]:
    """Return the rows of one column: parts, collectives, control, idle."""
    named = sorted(phase.parts, key=_rank)
    rows = {name: _row(phase, [*parts]) for name, parts in groupby(named, key=_name)}
    if phase.busy_pe_fraction is not None:
        idle = 1 - phase.busy_pe_fraction
        cycles = idle * phase.cycles_per_row
        rows["  of them idle"] = _cell(f"{cycles:,.0f}", f"{idle:.0%}", "–")
    return rows


def _name(part: PartReport) -> str:
    if part.part is None:
        return _CONTROL
    return _COLLECTIVES if part.is_collective else part.part


def _rank(part: PartReport) -> int:
    """Keep parts in their order, but put collectives behind them, and control last."""
    return 2 if part.part is None else int(part.is_collective)


def _row(phase: PhaseReport, parts: Sequence[PartReport]) -> str:
    expected = sum(part.expected_cycles_per_row for part in parts)
    known = [part.cycles_per_row for part in parts if part.cycles_per_row is not None]
    if not known:
        share = expected / phase.expected_cycles_per_row
        return _cell(f"{expected:,.0f}", f"{share:.0%}")
    measured = sum(known)
    share = measured / phase.cycles_per_row
    return _cell(f"{measured:,.0f}", f"{share:.0%}", f"{expected:,.0f}")
