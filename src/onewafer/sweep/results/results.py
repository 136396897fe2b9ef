"""The rows of a study to be shown: which ones, in which order, and with which columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onewafer.errors import ConfigurationError
from onewafer.sweep.inputs.expressions import check_names, parse
from onewafer.sweep.inputs.names import unknown
from onewafer.sweep.inputs.plain import spelled
from onewafer.sweep.results.pareto import pareto_front
from onewafer.sweep.results.store import POINTS, folder_of, read_table
from onewafer.sweep.subjects.outcome import Status
from onewafer.terminal import Shown
from onewafer.units import count_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rich.console import RenderableType

    from onewafer.sweep.results.rows import Header

    Row = Mapping[str, Any]

_LISTS = ("breakdown", "notes")
"""Columns with lists, which do not fit into a table."""
_USUAL_FIGURES = 3
"""Figures that a table shows where the study has no objectives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The points to show; the defaults show all, in the order of the study."""

    columns: tuple[str, ...] = ()
    """Empty: the inputs that differ, and the objectives."""
    where: str | None = None
    """A condition on the columns."""
    sort: str | None = None
    """A column; with `-` before it the largest come first."""
    is_pareto: bool = False
    """Only the points of the Pareto front of the objectives."""
    limit: int | None = None
    """Rows at most."""


@dataclass(frozen=True, slots=True, repr=False)
class Results(Shown):
    """Rows of a study, as chosen."""

    header: Header
    rows: tuple[Row, ...]
    """The rows to show."""
    columns: tuple[str, ...]
    num_rows: int
    """Rows of the file."""
    limit: int | None = None

    def __rich__(self) -> RenderableType:
        """Return the table that `onewafer sweep show` prints."""
        from rich.console import Group  # noqa: PLC0415  # when it is shown
        from rich.table import Table  # noqa: PLC0415  # likewise

        shown = self.rows[: self.limit]
        table = Table(title=self.header.title, title_justify="left")
        for name in self.columns:
            is_number = all(isinstance(row[name], int | float | None) for row in shown)
            table.add_column(name, justify="right" if is_number else "left")
        for row in shown:
            table.add_row(*(spelled(row[name], name) for name in self.columns))
        return Group(table, *self._below(len(shown)))

    def _below(self, num_shown: int) -> list[str]:
        lines = [f"{num_shown:,} of {self.num_rows:,} points"]
        if missing := self.header.num_points - self.num_rows:
            lines[0] += f"; the study has {missing:,} more, which are not computed yet"
        reasons = {str(row["reason"]): row["status"] for row in self.rows if row["reason"]}
        for reason, status in [*reasons.items()][:_USUAL_FIGURES]:
            lines.append(f"{status}: {reason}")
        if len(reasons) > _USUAL_FIGURES:
            others = count_of(len(reasons) - _USUAL_FIGURES, "other reason")
            lines.append(f"… and {others} (--columns reason)")
        return lines


def find_results(path: Path) -> Path:
    """Return the file of results of a study, of its folder, or itself.

    Raises ConfigurationError if there is none yet.
    """
    found = path
    if path.suffix == ".toml":
        found = folder_of(path) / POINTS
    elif path.is_dir():
        found = path / POINTS
    if not found.is_file():
        raise ConfigurationError(
            f"{path} has no results ({found}); compute them first: onewafer sweep {path}"
        )
    return found


def read_results(path: Path, choice: Choice) -> Results:
    """Return the rows of a file of results that are to be shown.

    Raises ConfigurationError for a name that is no column, and a front without objectives.
    """
    table, header = read_table(path)
    rows: list[Row] = table.to_pylist()
    names = tuple(name for name in table.schema.names if name not in _LISTS)
    chosen = _chosen(rows, names, header, choice)
    for name in choice.columns:
        if name not in names:
            raise unknown("column", name, names)
    columns = choice.columns or _usual_columns(rows, header)
    return Results(header, tuple(chosen), columns, len(rows), choice.limit)


def _chosen(
    rows: list[Row], names: tuple[str, ...], header: Header, choice: Choice
) -> Sequence[Row]:
    if choice.where is not None:
        condition = parse(choice.where, where="--where")
        check_names(condition, names, where="--where")
        rows = [row for row in rows if condition.holds(row)]
    if choice.is_pareto:
        if not header.objectives:
            raise ConfigurationError(
                "the study has no objectives, and so no front; write objectives = "
                '{ seconds = "min" } at its top'
            )
        answered = [row for row in rows if row["status"] == Status.ANSWERED.value]
        rows = [*pareto_front(answered, header.objectives)]
    if choice.sort is None:
        return rows
    name = choice.sort.removeprefix("-")
    if name not in names:
        raise unknown("column to sort by:", name, names)
    present = [row for row in rows if row[name] is not None]
    absent = [row for row in rows if row[name] is None]
    present.sort(key=lambda row: row[name], reverse=choice.sort.startswith("-"))
    return [*present, *absent]


def varying_inputs(rows: Sequence[Row], header: Header) -> tuple[str, ...]:
    """Return the axes with more than one value."""
    return tuple(name for name in header.axes if len({row[name] for row in rows}) > 1)


def _usual_columns(rows: Sequence[Row], header: Header) -> tuple[str, ...]:
    inputs = varying_inputs(rows, header) or header.axes
    figures = [name for name, _ in header.objectives]
    if not figures:
        known = (name for name in header.figures if any(row[name] is not None for row in rows))
        figures = [*known][:_USUAL_FIGURES]
    is_whole = all(row["status"] == Status.ANSWERED.value for row in rows)
    return (*inputs, *figures, *(() if is_whole else ("status",)))
