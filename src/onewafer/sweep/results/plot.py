# pyright: basic
# Matplotlib's type hints are partial.
"""Results as a picture: a heat map over two axes, lines over one, or the Pareto front."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import cycle
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from onewafer.errors import ConfigurationError
from onewafer.perf.report import LINE_COLORS, as_label, picture
from onewafer.sweep.inputs.names import unknown
from onewafer.sweep.inputs.plain import spelled
from onewafer.sweep.results.pareto import pareto_front
from onewafer.sweep.results.results import varying_inputs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from onewafer.sweep.results.results import Results, Row

_HEIGHT_INCHES = 4.8
_MOST_WRITTEN = 200
"""Cells of a heat map that have their numbers written in them."""
_MOST_LINES = 12
_MOST_NAMED = 12
"""Points of a front that have their inputs written below the picture."""
_LABEL_COLUMNS = 150
_FACTOR_OF_LOG = 30
"""Ratio of the ends of an axis from which on it is logarithmic."""


class Form(StrEnum):
    """The forms of pictures."""

    HEAT = "heat"
    LINES = "lines"
    PARETO = "pareto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """The wishes of the user; None: chosen by what differs."""

    form: Form | None = None
    x: str | None = None
    y: str | None = None
    by: str | None = None
    """The input that lines differ in."""


def draw_results(results: Results, path: Path, drawing: Drawing) -> None:
    """Write the picture of results; the ending of the file says the format.

    Raises:
        ConfigurationError: there is nothing to draw, or no such column.
    """
    _check_names(results, drawing)
    form = drawing.form or _usual_form(results)
    with picture(path, title=results.header.title, height=_HEIGHT_INCHES) as axes:
        match form:
            case Form.HEAT:
                _draw_heat(axes, results, drawing)
            case Form.LINES:
                _draw_lines(axes, results, drawing)
            case Form.PARETO:
                _draw_front(axes, results, drawing)


def _check_names(results: Results, drawing: Drawing) -> None:
    if not results.rows:
        raise ConfigurationError("no point is chosen, so there is nothing to draw")
    for name in (drawing.x, drawing.y, drawing.by):
        if name is not None and name not in results.rows[0]:
            raise unknown("column to draw:", name, results.rows[0])


def _usual_form(results: Results) -> Form:
    differing = varying_inputs(results.rows, results.header)
    return Form.HEAT if len(differing) == 2 else Form.LINES  # noqa: PLR2004  # a map has two axes


def _inputs(results: Results, *wanted: str | None) -> list[str]:
    """Return inputs for the places of a picture: those wanted, then those that differ."""
    free = [name for name in varying_inputs(results.rows, results.header) if name not in wanted]
    return [name or (free.pop(0) if free else results.header.axes[0]) for name in wanted]


def _figure(results: Results, wanted: str | None, place: int = 0) -> str:
    """Return the figure that is wanted, or an objective, or the first figure that is there."""
    if wanted is not None:
        return wanted
    objectives = [name for name, _ in results.header.objectives]
    known = [
        name
        for name in results.header.figures
        if any(isinstance(row[name], int | float) for row in results.rows)
    ]
    if not known:
        raise ConfigurationError("no point has an answer, so there is nothing to draw")
    return (objectives or known)[min(place, len(objectives or known) - 1)]


def _draw_heat(axes: Any, results: Results, drawing: Drawing) -> None:  # noqa: ANN401  # Matplotlib's
    x, y = _inputs(results, drawing.x, drawing.by)
    figure = _figure(results, drawing.y)
    columns, lines = (_values(results.rows, name) for name in (x, y))
    cells: dict[tuple[object, object], float | None] = {}
    for row in results.rows:
        at = row[x], row[y]
        if at in cells:
            raise ConfigurationError(
                f"several points have {x} = {spelled(at[0])} and {y} = {spelled(at[1])}; choose "
                'those of one map, as in --where "batch == 1"'
            )
        cells[at] = row[figure]
    colors = [[cells.get((column, line)) for column in columns] for line in lines]
    numbers = [[float("nan") if cell is None else cell for cell in line] for line in colors]
    image = axes.pcolormesh(numbers, cmap="viridis")
    axes.set_facecolor("#dddddd")  # no answer
    axes.set_xticks([at + 0.5 for at in range(len(columns))], [*map(_label, columns)])
    axes.set_yticks([at + 0.5 for at in range(len(lines))], [*map(_label, lines)])
    if len(columns) * len(lines) <= _MOST_WRITTEN:
        _write_cells(axes, colors)
    axes.set_xlabel(as_label(x))
    axes.set_ylabel(as_label(y))
    axes.figure.colorbar(image, label=as_label(figure))


def _write_cells(axes: Any, cells: Sequence[Sequence[float | None]]) -> None:  # noqa: ANN401  # Matplotlib's
    known = [cell for line in cells for cell in line if cell is not None]
    middle = (min(known) + max(known)) / 2 if known else 0.0
    for down, line in enumerate(cells):
        for across, cell in enumerate(line):
            color = "black" if cell is None or cell > middle else "white"
            text = spelled(cell)
            axes.text(across + 0.5, down + 0.5, text, ha="center", va="center", color=color)


def _draw_lines(axes: Any, results: Results, drawing: Drawing) -> None:  # noqa: ANN401  # Matplotlib's
    (x,) = _inputs(results, drawing.x)
    figure = _figure(results, drawing.y)
    differing = [name for name in varying_inputs(results.rows, results.header) if name != x]
    by = differing if drawing.by is None else [drawing.by]
    lines: dict[tuple[object, ...], list[Row]] = {}
    for row in results.rows:
        if row[figure] is not None:
            lines.setdefault(tuple(row[name] for name in by), []).append(row)
    if len(lines) > _MOST_LINES:
        raise ConfigurationError(
            f"the points make {len(lines):,} lines ({', '.join(by)} differ); {_MOST_LINES} can be "
            "told apart: choose with --where, or --by, as in --by sram"
        )
    places = _values(results.rows, x)
    is_number = all(isinstance(value, int | float) for value in places)
    orders = [_values(results.rows, name) for name in by]
    in_order = sorted(lines, key=lambda values: [*map(list.index, orders, values)])
    for values, color in zip(in_order, cycle(LINE_COLORS), strict=False):
        label = ", ".join(f"{n} {spelled(v)}" for n, v in zip(by, values, strict=True))
        rows = sorted(lines[values], key=lambda row: places.index(row[x]))
        xs, ys = _columns(rows, x, figure)
        xs = xs if is_number else [places.index(value) for value in xs]
        axes.plot(xs, ys, marker="o", markersize=4, color=color, label=as_label(label))
    if is_number:
        _scale(axes, places)
    else:
        axes.set_xticks(range(len(places)), [*map(_label, places)])
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(lambda value, _: spelled(value))
    axes.set_xlabel(as_label(x))
    axes.set_ylabel(as_label(figure))
    axes.grid(visible=True, linewidth=0.5, alpha=0.5)
    if by and len(lines) > 1:
        axes.figure.legend(frameon=False, ncols=3, loc="outside lower center")


def _draw_front(axes: Any, results: Results, drawing: Drawing) -> None:  # noqa: ANN401  # Matplotlib's
    x, y = _figure(results, drawing.x), _figure(results, drawing.y, 1)
    if x == y:
        raise ConfigurationError(
            "a front has two objectives; name two in the study, or two figures: --x, --y"
        )
    wanted = dict(results.header.objectives)
    objectives = [(name, wanted.get(name, "min")) for name in (x, y)]
    rows = [row for row in results.rows if row[x] is not None and row[y] is not None]
    front = sorted(pareto_front(rows, objectives), key=lambda row: row[x])
    axes.scatter(*_columns(rows, x, y), s=12, color="#999999", label="points")
    line = _columns(front, x, y)
    axes.plot(*line, marker="o", color=LINE_COLORS[0], label="Pareto front")
    _name_points(axes, front, results, (x, y))
    axes.set_xlabel(as_label(f"{x} ({objectives[0][1]})"))
    axes.set_ylabel(as_label(f"{y} ({objectives[1][1]})"))
    axes.grid(visible=True, linewidth=0.5, alpha=0.5)
    axes.legend(frameon=False)


def _name_points(axes: Any, front: Sequence[Row], results: Results, at: tuple[str, str]) -> None:  # noqa: ANN401  # Matplotlib's
    """Write a number beside each point of a front, and below the picture what differs."""
    if len(front) > _MOST_NAMED:
        return
    from matplotlib.lines import Line2D  # noqa: PLC0415 - an extra

    header, (x, y) = results.header, at
    names = varying_inputs(front, header) or varying_inputs(results.rows, header)
    labels: list[str] = []
    for number, row in enumerate(front, 1):
        place = {"xytext": (5, 5), "textcoords": "offset points", "fontsize": 8}
        axes.annotate(str(number), (row[x], row[y]), **place)
        said = ", ".join(f"{name} {spelled(row[name])}" for name in names)
        labels.append(as_label("\n".join(wrap(f"{number}: {said}", _LABEL_COLUMNS))))
    handles = [Line2D([], [], linestyle="") for _ in labels]
    axes.figure.legend(
        handles, labels, frameon=False, fontsize=7, handlelength=0, loc="outside lower left"
    )


def _columns(rows: Sequence[Row], *names: str) -> tuple[list[Any], ...]:
    return tuple([row[name] for row in rows] for name in names)


def _values(rows: Sequence[Row], name: str) -> list[Any]:
    """Return the values of a column, numbers by size and texts as they come."""
    values = [*dict.fromkeys(row[name] for row in rows)]
    return sorted(values) if all(isinstance(v, int | float) for v in values) else values


def _label(value: object) -> str:
    return as_label(spelled(value))


def _scale(axes: Any, values: Sequence[Any]) -> None:  # noqa: ANN401  # Matplotlib's
    """Make the x axis logarithmic if its numbers are far apart; write numbers in full."""
    if min(values) > 0 and max(values) / min(values) >= _FACTOR_OF_LOG:
        axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: spelled(value))
