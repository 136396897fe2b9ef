# pyright: basic
# Matplotlib's type hints are partial.
"""Curves as SVG files, by Matplotlib, which is an extra."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from onewafer.benchmarks.figures import Figure as Quantity
from onewafer.benchmarks.figures import median_cpu
from onewafer.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from onewafer.benchmarks.curves import CurveResult, SeriesResult

_BOOKSIM_PES, _BOOKSIM_HOPS = 32 * 32, 0.29e6
"""The figures that the page prints."""
_COLORS = ("#0072b2", "#d55e00", "#009e73")  # color-blind safe: Okabe and Ito
_MARKERS = ("o", "s", "^")
_INCHES = (9.0, 3.6)
_LEAST_SPAN = 10
"""The least ratio of the largest to the smallest value of a y axis."""
_STYLE: dict[Any, Any] = {"svg.fonttype": "none", "font.size": 9}  # text stays text: small files


def require_matplotlib() -> None:
    """Raise `ConfigurationError` if Matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise ConfigurationError(
            "plots need Matplotlib, which is not installed: pip install 'onewafer[view]'"
        )


def draw(result: CurveResult, folder: Path) -> Path:
    """Write the picture of a curve into a folder and return its path.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    import matplotlib as mpl  # noqa: PLC0415 - an extra
    from matplotlib.figure import Figure  # noqa: PLC0415 - likewise

    path = folder / f"{result.curve.name}.svg"
    # The same numbers make the same file.
    with mpl.rc_context({**_STYLE, "svg.hashsalt": result.curve.name}):
        figure = Figure(figsize=_INCHES, layout="constrained")
        figure.suptitle(result.curve.title, fontsize=10)
        rates, times = figure.subplots(1, 2)
        for number, series in enumerate(result.series):
            style = {"color": _COLORS[number], "marker": _MARKERS[number], "markersize": 4}
            _plot(rates, series, style, value="hops")
            _plot(times, series, style, value="seconds")
        if result.curve.name == "over-pes":
            x, y = [_BOOKSIM_PES], [_BOOKSIM_HOPS]
            rates.plot(x, y, "x", color="#555555", label="BookSim2 (see text)")
        _label(rates, result, "wavelet-hops by processor second", unit="")
        _label(times, result, "processor time of a run", unit="s")
        try:
            figure.savefig(path, format="svg", metadata={"Date": None})
        except OSError as error:
            raise ConfigurationError(f"{path}: {error.strerror or error}") from error
    return path


def _plot(axes: Axes, series: SeriesResult, style: dict[str, Any], *, value: str) -> None:
    points: list[tuple[float, float]] = []
    for x, outcome in series.points:
        if outcome.measurement is None:
            continue
        seconds = median_cpu(outcome.measurement.durations["run"])
        hops = outcome.measurement.figures.get(Quantity.HOPS)
        y = seconds if value == "seconds" else hops
        if y:
            points.append((x, y))
    axes.plot([x for x, _ in points], [y for _, y in points], label=series.label, **style)


def _label(axes: Axes, result: CurveResult, y_label: str, *, unit: str) -> None:
    from matplotlib.ticker import EngFormatter, LogLocator, NullLocator  # noqa: PLC0415 - an extra

    axes.set_xscale("log")
    axes.set_yscale("log")
    places, names = zip(*result.curve.ticks, strict=True)
    axes.set_xticks(places, names)
    axes.xaxis.set_minor_locator(NullLocator())
    low, high = axes.get_ylim()
    if high < _LEAST_SPAN * low:  # else noise looks like a finding
        middle = (low * high) ** 0.5
        axes.set_ylim(middle / _LEAST_SPAN**0.5, middle * _LEAST_SPAN**0.5)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(EngFormatter(unit))
    axes.set_xlabel(result.curve.x_label)
    axes.set_ylabel(y_label)
    axes.grid(visible=True, linewidth=0.5, alpha=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
