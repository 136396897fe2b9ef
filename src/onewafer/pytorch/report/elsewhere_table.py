"""The table of the work of a run on other systems, for people at a terminal."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from onewafer.units import format_joules, format_rate, format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import RenderableType

    from onewafer.pytorch.report.values import Elsewhere, OnSystem

    _Row = tuple[str, Callable[[OnSystem], str | None]]


def render_elsewhere(elsewhere: Elsewhere) -> RenderableType:
    """Return the figures of all systems that can do the work, a column each, and what they mean."""
    able = [found for found in elsewhere.there if found.refusal is None]
    return Group(
        Text(f"{elsewhere.module}, {elsewhere.work}, here and elsewhere", style="bold"),
        *([_table(elsewhere, able)] if able else []),
        *(Text(line) for line in _explain(elsewhere)),
    )


def _table(elsewhere: Elsewhere, able: list[OnSystem]) -> Table:
    columns = [elsewhere.here, *able]
    table = Table(show_header=False)
    table.add_column(style="cyan", no_wrap=True)
    for _ in columns:
        table.add_column(justify="right")
    heads = (Text(column.system, style="bold") for column in columns)
    table.add_row("system", *heads)
    table.add_section()
    what = "tokens" if elsewhere.is_in_tokens else "samples"
    rows: tuple[_Row, ...] = (
        ("machine", lambda one: one.title),
        ("precision", lambda one: one.precision),
        ("time", lambda one: _or_dash(one.seconds, format_seconds)),
        (f"{what}/s", lambda one: _or_dash(one.rows_per_second, format_rate)),
        ("energy", lambda one: _or_dash(one.joules, format_joules)),
        ("FLOP utilisation", lambda one: _or_dash(one.mfu, _percent)),
        ("limit", lambda one: one.limit),
        ("± median error", lambda one: None if one.error is None else _percent(one.error.median)),
    )
    for name, show in rows:
        cells = [show(column) for column in columns]
        if any(cells):
            table.add_row(name, *(cell or "–" for cell in cells))
    return table


def _or_dash(value: float | None, show: Callable[[float], str]) -> str | None:
    return None if value is None else show(value)


def _explain(elsewhere: Elsewhere) -> Iterator[str]:
    """Yield a line for each reason and each note, which may be of several systems."""
    systems: defaultdict[str, list[str]] = defaultdict(list)
    for found in elsewhere.there:
        if found.refusal is not None:
            systems[f"cannot: {found.refusal}"].append(found.system)
        if found.error is not None:
            systems[f"such figures are off by {found.error}"].append(found.system)
        if found.mapping is not None:
            systems[f"mapping: {found.mapping}"].append(found.system)
        if found.energy_basis is not None:
            systems[f"energy: {found.energy_basis}"].append(found.system)
        for note in found.notes:
            systems[note].append(found.system)
    for note, names in systems.items():
        yield f"{', '.join(names)}: {note}"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.3g} %"
