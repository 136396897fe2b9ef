# pyright: basic
# Matplotlib's type hints are partial.
"""Results as a picture: a heat map over two axes, lines over one, or the Pareto front."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from math import exp, log
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from onewafer.errors import ConfigurationError
from onewafer.perf.report import LINE_COLORS, as_label, picture
from onewafer.sweep.inputs.names import unknown
from onewafer.sweep.inputs.plain import spelled
from onewafer.sweep.results.pareto import pareto_front
from onewafer.sweep.results.results import varying_inputs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
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
_CHARACTER = 0.011
"""Width of a character of a label, as a share of the axis."""
_NEAR = 0.012
"""Share of the axis below which two lines cover each other."""
_MARGIN = 0.045
"""Share of the axis that is free beside its values."""
_DASH = 3.0
"""Length of the dashes of lines that cover each other, in widths of a line."""
_MARKER = 4.0
"""Size of a marker, in points."""


class Form(StrEnum):
    """The forms of pictures."""

    HEAT = "heat"
    LINES = "lines"
    PARETO = "pareto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """The options of a picture; None: chosen from the inputs that differ."""

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
    differing = varying_inputs(results.rows, results.header)
    is_plane = len(differing) == 2  # noqa: PLR2004  # a map has two axes
    form = drawing.form or (Form.HEAT if is_plane else Form.LINES)
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


def _inputs(results: Results, *wanted: str | None) -> list[str]:
    """Return the inputs for the axes of a picture: those asked for, then those that differ."""
    free = [name for name in varying_inputs(results.rows, results.header) if name not in wanted]
    return [name or (free.pop(0) if free else results.header.axes[0]) for name in wanted]


def _figure(results: Results, wanted: str | None, place: int = 0) -> str:
    """Return the figure asked for, or an objective, or the first figure with values."""
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
    at_place: dict[tuple[object, object], Row] = {}
    for row in results.rows:
        at = row[x], row[y]
        if at in at_place:
            raise ConfigurationError(
                f"several points have {x} = {spelled(at[0], x)} and {y} = {spelled(at[1], y)}; "
                'choose those of one map, as in --where "batch == 1"'
            )
        at_place[at] = row
    cells = [[at_place.get((column, line)) for column in columns] for line in lines]
    numbers = [[_number(cell, figure) for cell in line] for line in cells]
    image = axes.pcolormesh(numbers, cmap="viridis")
    axes.set_facecolor("#dddddd")  # no answer
    axes.set_xticks([at + 0.5 for at in range(len(columns))], _labels(columns, x))
    axes.set_yticks([at + 0.5 for at in range(len(lines))], _labels(lines, y))
    if len(columns) * len(lines) <= _MOST_WRITTEN:
        _write_cells(axes, cells, figure)
    axes.set_xlabel(as_label(x))
    axes.set_ylabel(as_label(y))
    bar = axes.figure.colorbar(image, label=as_label(figure))
    bar.ax.yaxis.set_major_formatter(_formatter(figure))


def _number(row: Row | None, figure: str) -> float:
    return float("nan") if row is None or row[figure] is None else row[figure]


def _write_cells(axes: Any, cells: Sequence[Sequence[Row | None]], figure: str) -> None:  # noqa: ANN401  # Matplotlib's
    """Write into each cell its figure, or the reason why there is none."""
    known = [row[figure] for line in cells for row in line if row and row[figure] is not None]
    middle = (min(known) + max(known)) / 2 if known else 0.0
    for down, line in enumerate(cells):
        for across, row in enumerate(line):
            value = None if row is None else row[figure]
            text = spelled(value, figure) if value is not None or row is None else row["status"]
            color = "black" if value is None or value > middle else "white"
            axes.text(
                across + 0.5, down + 0.5, as_label(text), ha="center", va="center", color=color
            )


@dataclass(frozen=True, slots=True)
class _Series:
    """A line of a picture: its points from left to right."""

    label: str
    color: str
    shape: str
    points: dict[float, float]

    @property
    def stretches(self) -> list[tuple[float, float]]:
        """The pieces between neighboring points, by their ends."""
        return [*pairwise(self.points)]


def _draw_lines(axes: Any, results: Results, drawing: Drawing) -> None:  # noqa: ANN401  # Matplotlib's
    (x,) = _inputs(results, drawing.x)
    figure = _figure(results, drawing.y)
    differing = [name for name in varying_inputs(results.rows, results.header) if name != x]
    by = differing if drawing.by is None else [drawing.by]
    places = _values(results.rows, x)
    series = _series(results.rows, by, (x, figure), places)
    axes.set_xlabel(as_label(x))
    axes.set_ylabel(as_label(figure))
    _scale(axes, places, x)
    _draw_series(axes, series)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(_formatter(figure))
    axes.grid(visible=True, linewidth=0.5, alpha=0.5)
    if by and len(series) > 1:
        axes.figure.legend(frameon=False, ncols=3, loc="outside lower center")


def _series(
    rows: Sequence[Row], by: Sequence[str], of: tuple[str, str], places: Sequence[Any]
) -> list[_Series]:
    """Return the lines of a picture, one for each choice of the inputs that lines differ in."""
    x, figure = of
    lines: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        if row[figure] is not None:
            lines.setdefault(tuple(row[name] for name in by), []).append(row)
    if len(lines) > _MOST_LINES:
        raise ConfigurationError(
            f"the points make {len(lines):,} lines ({', '.join(by)} differ); {_MOST_LINES} can be "
            "told apart: choose with --where, or --by, as in --by sram"
        )
    orders = [_values(rows, name) for name in by]
    in_order = sorted(lines, key=lambda values: [*map(list.index, orders, values)])
    found: list[_Series] = []
    for number, values in enumerate(in_order):
        label = ", ".join(f"{n} {spelled(v, n)}" for n, v in zip(by, values, strict=True))
        shapes, color = divmod(number, len(LINE_COLORS))
        points = sorted(lines[values], key=lambda row: places.index(row[x]))
        at = [row[x] if _are_numbers(places) else places.index(row[x]) for row in points]
        if len({*at}) < len(at):
            raise ConfigurationError(
                f"several points of the line {label or figure!r} have the same {x}; choose those "
                'of one line, as in --where "batch == 1", or name what differs: --by'
            )
        ys: dict[float, float] = dict(zip(at, (row[figure] for row in points), strict=True))
        found.append(_Series(as_label(label), LINE_COLORS[color], "os"[shapes], ys))
    return found


def _draw_series(axes: Any, series: Sequence[_Series]) -> None:  # noqa: ANN401  # Matplotlib's
    """Draw lines; where some cover each other, their dashes alternate."""
    top = max(y for one in series for y in one.points.values())
    near = _NEAR * (abs(top) or 1.0)
    for number, one in enumerate(series):
        axes.plot([], [], marker=one.shape, markersize=_MARKER, color=one.color, label=one.label)
        for left, right in one.stretches:
            sharing = [
                other
                for other in series
                if (left, right) in other.stretches
                and abs(other.points[left] - one.points[left]) < near
                and abs(other.points[right] - one.points[right]) < near
            ]
            turns, turn = len(sharing), sharing.index(one)
            dashes = (-turn * _DASH, (_DASH, (turns - 1) * _DASH)) if turns > 1 else "-"
            ends = [one.points[left], one.points[right]]
            axes.plot([left, right], ends, color=one.color, linestyle=dashes, dash_capstyle="butt")
        for x, y in one.points.items():
            above = sum(abs(o.points.get(x, y + near) - y) < near for o in series[number + 1 :])
            size = _MARKER + above * min(_MARKER, 2 * _MARKER * _MARKER / len(series))
            axes.plot([x], [y], marker=one.shape, markersize=size, color=one.color)


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
    kept = {id(row) for row in front}
    others = [row for row in rows if id(row) not in kept]
    if others:
        axes.scatter(*_columns(others, x, y), s=12, color="#999999", label="other points")
    line = _columns(front, x, y)
    axes.plot(*line, marker="o", color=LINE_COLORS[0], label="Pareto front")
    _name_points(axes, front, results, (x, y))
    axes.set_xlabel(as_label(f"{x} ({objectives[0][1]})"))
    axes.set_ylabel(as_label(f"{y} ({objectives[1][1]})"))
    axes.xaxis.set_major_formatter(_formatter(x))
    axes.yaxis.set_major_formatter(_formatter(y))
    axes.grid(visible=True, linewidth=0.5, alpha=0.5)
    axes.legend(frameon=False)


def _name_points(axes: Any, front: Sequence[Row], results: Results, at: tuple[str, str]) -> None:  # noqa: ANN401  # Matplotlib's
    """Write a number beside each point of a front, and below the picture the inputs."""
    if len(front) > _MOST_NAMED:
        return
    from matplotlib.lines import Line2D  # noqa: PLC0415 - an extra

    x, y = at
    names = varying_inputs(results.rows, results.header)
    labels: list[str] = []
    for number, row in enumerate(front, 1):
        place = {"xytext": (5, 5), "textcoords": "offset points", "fontsize": 8}
        axes.annotate(str(number), (row[x], row[y]), **place)
        said = ", ".join(f"{name} {spelled(row[name], name)}" for name in names)
        labels.append(as_label("\n".join(wrap(f"{number}: {said}", _LABEL_COLUMNS))))
    marker = Line2D([], [], linestyle="", marker="o", markersize=_MARKER, color=LINE_COLORS[0])
    handles = [marker] * len(labels)
    axes.figure.legend(
        handles, labels, frameon=False, fontsize=7, handlelength=1, loc="outside lower left"
    )


def _columns(rows: Sequence[Row], *names: str) -> tuple[list[Any], ...]:
    return tuple([row[name] for row in rows] for name in names)


def _values(rows: Sequence[Row], name: str) -> list[Any]:
    """Return the values of a column, numbers by size and texts as they come."""
    values = [*dict.fromkeys(row[name] for row in rows)]
    return sorted(values) if _are_numbers(values) else values


def _labels(values: Sequence[object], name: str) -> list[str]:
    return [as_label(spelled(value, name)) for value in values]


def _formatter(name: str) -> Callable[[float, object], str]:
    return lambda value, _: as_label(spelled(value, name))


def _are_numbers(values: Sequence[object]) -> bool:
    return all(isinstance(value, int | float) for value in values)


def _scale(axes: Any, values: Sequence[Any], name: str) -> None:  # noqa: ANN401  # Matplotlib's
    """Give the x axis a tick at each value of the input, as far as the labels have room.

    It is logarithmic if its numbers are far apart.
    """
    places = [*values] if _are_numbers(values) else [*range(len(values))]
    is_log = min(places) > 0 and max(places) / min(places) >= _FACTOR_OF_LOG
    if is_log:
        axes.set_xscale("log")
    at = [log(place) if is_log else float(place) for place in places]
    wide = at[-1] - at[0] or 1.0
    labels, free = _labels(values, name), float("-inf")
    for number, label in enumerate(labels):
        middle, half = (at[number] - at[0]) / wide, (len(label) + 1) / 2 * _CHARACTER
        if middle - half < free:
            labels[number] = ""
        else:
            free = middle + half
    axes.set_xticks(places, labels)
    axes.xaxis.minorticks_off()
    ends = at[0] - _MARGIN * wide, at[-1] + _MARGIN * wide
    axes.set_xlim(*(map(exp, ends) if is_log else ends))
