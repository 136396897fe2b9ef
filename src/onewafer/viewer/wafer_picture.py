"""A map of a recording as a PNG: a square of pixels for each PE, and a scale.

Windows are drawn side by side; of two runs, the difference is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.errors import ConfigurationError
from onewafer.files.whole_files import whole_file
from onewafer.terminal import quoted
from onewafer.units import format_bytes
from onewafer.viewer.compared_runs import Difference, check_rectangles
from onewafer.viewer.heat_maps import Drawn, HeatMap, Unit, draw_codes, find_map
from onewafer.viewer.palettes import difference_palette, palette_of
from onewafer.viewer.windows import Windows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from onewafer.recording import RecordingFile

_DPI = 100
_LONGER_SIDE = 900
"""The size of the wafer's longer side in pixels, about; at least a pixel a PE."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 160, 60, 50
_SCALE_WIDTH, _SCALE_GAP, _SCALE_HEIGHT = 16, 18, 300
_LINE = 16
_GAP = 60
"""Pixels between two wafers."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The recordings and windows of a picture."""

    recording: RecordingFile
    other: RecordingFile | None = None
    """A second run: the picture then shows its difference to the first."""
    windows: tuple[int, ...] = ()
    """The windows to draw side by side; empty: the whole run."""


def draw_picture(name: str, path: Path, subject: Subject) -> str:
    """Write the picture of a map, as a whole or not at all; return a sentence about it.

    Raises:
        ConfigurationError: there is no such map or window, the rectangles of the runs differ, or
            Matplotlib is not installed.
        OSError: the file cannot be written.
    """
    recording = subject.recording
    drawn = find_map(recording, name)
    if find_spec("matplotlib") is None:
        raise ConfigurationError(
            "a picture needs Matplotlib; it is not installed: pip install 'onewafer[view]'"
        )
    if subject.other is not None:
        return _draw_difference(drawn, path, recording, subject.other)
    found = _draw_windows(drawn, subject) or {"": draw_codes(recording, drawn)}
    highest = max(one.highest for one in found.values())
    parts = recording.header.parts
    palette = palette_of(drawn.unit, parts)
    panels = {title: palette[one.levels[0]] for title, one in found.items()}
    figure = _figure(recording, drawn.title, panels)
    if drawn.unit.is_ordered:
        _add_scale(figure, drawn, (0.0, highest), palette)
    elif drawn.unit is Unit.PART:
        _add_names(figure, parts, palette)
    with whole_file(path) as target:
        figure.savefig(target, format="png", dpi=_DPI)
    most = max(one.most for one in found.values())
    if not drawn.unit.is_ordered:
        return f"{drawn.title}, {int(most) + 1} of them"
    means = ", ".join(write_value(one.mean, drawn.unit) for one in found.values())
    return f"{drawn.title}: {means} on average, at most {write_value(most, drawn.unit)}"


def _draw_windows(drawn: HeatMap, subject: Subject) -> dict[str, Drawn]:
    """Return title → codes of the wanted windows."""
    recording, known = subject.recording, subject.recording.header.windows
    if not subject.windows:
        return {}
    if not known or not drawn.counter:
        why = "this map is not sampled" if known else "the run was not (--sample-every)"
        where = f"--window: {recording.path} has no windows of {drawn.name}"
        raise ConfigurationError(f"{where}: {why}")
    highest = Windows(recording).highest(drawn)
    found: dict[str, Drawn] = {}
    for number in subject.windows:
        if not 0 <= number < len(known):
            raise ConfigurationError(
                f"--window {number}: {recording.path} has windows 0 to {len(known) - 1}"
            )
        title = f"cycles {known[number].start_cycle:,} to {known[number].end_cycle:,}"
        found[title] = draw_codes(recording, drawn, window=number, highest=highest)
    return found


def _draw_difference(
    drawn: HeatMap, path: Path, first: RecordingFile, second: RecordingFile
) -> str:
    check_rectangles(first, second)
    find_map(second, drawn.name)
    difference = Difference(first, second)
    found, palette = difference.draw(drawn), difference_palette()
    title = f"{drawn.title}, {quoted(second.path.name)} − {quoted(first.path.name)}"
    figure = _figure(first, title, {"": palette[found.levels[0]]})
    _add_scale(figure, drawn, (-found.highest, found.highest), palette)
    with whole_file(path) as target:
        figure.savefig(target, format="png", dpi=_DPI)
    largest, mean = (write_value(v, drawn.unit) for v in (found.highest, found.mean))
    return (
        f"{title}: {mean} on average, at most {largest} either way; "
        f"{quoted(second.path.name)} took {difference.cycles(quoted(first.path.name))}"
    )


def write_value(value: float, unit: Unit) -> str:
    """Format a value of a map.

    >>> write_value(0.253, Unit.SHARE), write_value(1234, Unit.COUNT)
    ('25.3 %', '1,234')
    """
    match unit:
        case Unit.SHARE:
            return f"{100 * value:.3g} %"
        case Unit.UNITS:
            return f"{value:.3g} units"
        case Unit.BYTES:
            return format_bytes(round(value))
        case Unit.JOULES:
            return f"{value:.3g} J"
        case Unit.COUNT | Unit.CYCLES | Unit.PROGRAM | Unit.PART:
            return f"{round(value):,}"


def _figure(recording: RecordingFile, title: str, panels: Mapping[str, NDArray[np.uint8]]) -> Any:  # noqa: ANN401  # Matplotlib has few types
    """Return a figure with panels side by side: title → colors of all PEs."""
    header = recording.header
    side = max(1, _LONGER_SIDE // max(header.width, header.height))
    width, height = header.width * side, header.height * side
    all_panels = len(panels) * (width + _GAP) - _GAP
    size = (max(all_panels, 320) + _LEFT + _RIGHT, height + _TOP + _BOTTOM)
    figure = import_module("matplotlib.figure").Figure(
        figsize=(size[0] / _DPI, size[1] / _DPI), dpi=_DPI
    )
    locator = import_module("matplotlib.ticker").MaxNLocator
    for number, (above, colors) in enumerate(panels.items()):
        left = _LEFT + number * (width + _GAP)
        frame = (left / size[0], _BOTTOM / size[1], width / size[0], height / size[1])
        axes = figure.add_axes(frame)
        axes.imshow(
            np.repeat(np.repeat(colors, side, axis=0), side, axis=1),
            extent=(-0.5, header.width - 0.5, header.height - 0.5, -0.5),
            interpolation="nearest",
            aspect="auto",
        )
        axes.xaxis.set_major_locator(locator(8, integer=True))
        axes.yaxis.set_major_locator(locator(8, integer=True))
        axes.set_title(above, fontsize=10)
        axes.set_xlabel("x")
    figure.axes[0].set_ylabel("y")
    what = f"{quoted(header.title)}: {title}, {header.num_pes:,} PEs, {header.cycles:,} cycles"
    figure.text(_LEFT / size[0], 1 - 30 / size[1], what, fontsize=11, parse_math=False)
    return figure


def _add_names(figure: Any, parts: Sequence[str], palette: NDArray[np.uint8]) -> None:  # noqa: ANN401  # likewise
    """Add the legend of a model's parts."""
    width, height = (side * _DPI for side in figure.get_size_inches())
    for number, name in enumerate(parts):
        at = ((width - _RIGHT + _SCALE_GAP) / width, 1 - (_TOP + 12 + _LINE * number) / height)
        color = palette[1 + number] / 255
        figure.text(*at, "\u25a0", fontsize=11, color=color)
        figure.text(at[0] + _LINE / width, at[1], name, fontsize=8, parse_math=False)


def _add_scale(  # likewise
    figure: Any,  # noqa: ANN401
    drawn: HeatMap,
    ends: tuple[float, float],
    palette: NDArray[np.uint8],
) -> None:
    width, height = (side * _DPI for side in figure.get_size_inches())
    tall = min(_SCALE_HEIGHT, height - _TOP - _BOTTOM)
    left = (width - _RIGHT + _SCALE_GAP) / width
    bottom = (height - _TOP - tall) / height
    axes = figure.add_axes((left, bottom, _SCALE_WIDTH / width, tall / height))
    axes.imshow(palette[:0:-1, np.newaxis], aspect="auto", extent=(0, 1, 0, 1))
    axes.set_xticks([])
    axes.yaxis.tick_right()
    lowest, highest = ends
    shares = (0.0, 0.5, 1.0) if highest > 0 else (0.0,)
    axes.set_yticks(shares)
    values = [lowest + share * (highest - lowest) for share in shares]
    axes.set_yticklabels([write_value(value, drawn.unit) for value in values])
