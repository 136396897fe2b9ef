"""A map of the wafer as a PNG: one square of pixels a PE, a scale beside it.

In: a recording and the name of a map. Out: a file.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.errors import ConfigurationError
from onewafer.units import format_bytes
from onewafer.user_text import shown
from onewafer.viewer.heat_maps import HeatMap, Unit, draw_codes, find_map
from onewafer.viewer.palettes import palette_of
from onewafer.whole_files import whole_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from onewafer.recording import RecordingFile

_DPI = 100
_LONGER_SIDE = 900
"""Pixels that the wafer has at least; a larger one has a pixel a PE."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 160, 60, 50
_SCALE_WIDTH, _SCALE_GAP, _SCALE_HEIGHT = 16, 18, 300
_LINE = 16


def draw_picture(recording: RecordingFile, name: str, path: Path) -> str:
    """Write the picture of a map, whole or not at all; return a sentence about it.

    Raises:
        ConfigurationError: there is no such map, or Matplotlib is not installed.
        OSError: the file cannot be written.
    """
    drawn = find_map(recording, name)
    if find_spec("matplotlib") is None:
        raise ConfigurationError(
            "a picture needs Matplotlib; it is not installed: pip install 'onewafer[view]'"
        )
    found = draw_codes(recording, drawn)
    parts = recording.header.parts
    palette = palette_of(drawn.unit, parts)
    figure = _figure(recording, drawn, palette[found.levels[0]])
    if drawn.unit.is_ordered:
        _add_scale(figure, drawn, found.highest, palette)
    elif drawn.unit is Unit.PART:
        _add_names(figure, parts, palette)
    with whole_file(path) as target:
        figure.savefig(target, format="png", dpi=_DPI)
    if not drawn.unit.is_ordered:
        return f"{drawn.title}, {int(found.highest) + 1} of them"
    highest, mean = (write_value(v, drawn.unit) for v in (found.highest, found.mean))
    return f"{drawn.title}: {mean} on average, at most {highest}"


def write_value(value: float, unit: Unit) -> str:
    """Return a value of a map for people.

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
        case Unit.COUNT | Unit.PROGRAM | Unit.PART:
            return f"{round(value):,}"


def _figure(recording: RecordingFile, drawn: HeatMap, colors: NDArray[np.uint8]) -> Any:  # noqa: ANN401  # Matplotlib has few types
    header = recording.header
    side = max(1, _LONGER_SIDE // max(header.width, header.height))
    width, height = header.width * side, header.height * side
    size = (max(width, 320) + _LEFT + _RIGHT, height + _TOP + _BOTTOM)
    figure = import_module("matplotlib.figure").Figure(
        figsize=(size[0] / _DPI, size[1] / _DPI), dpi=_DPI
    )
    frame = (_LEFT / size[0], _BOTTOM / size[1], width / size[0], height / size[1])
    axes = figure.add_axes(frame)
    axes.imshow(
        np.repeat(np.repeat(colors, side, axis=0), side, axis=1),
        extent=(-0.5, header.width - 0.5, header.height - 0.5, -0.5),
        interpolation="nearest",
        aspect="auto",
    )
    locator = import_module("matplotlib.ticker").MaxNLocator
    axes.xaxis.set_major_locator(locator(8, integer=True))
    axes.yaxis.set_major_locator(locator(8, integer=True))
    axes.set_xlabel("x")
    axes.set_ylabel("y")
    what = f"{shown(header.title)}: {drawn.title}, {header.num_pes:,} PEs, {header.cycles:,} cycles"
    figure.text(_LEFT / size[0], 1 - 36 / size[1], what, fontsize=11, parse_math=False)
    return figure


def _add_names(figure: Any, parts: Sequence[str], palette: NDArray[np.uint8]) -> None:  # noqa: ANN401  # likewise
    """Write the names of parts beside the picture, each in its color."""
    width, height = (side * _DPI for side in figure.get_size_inches())
    for number, name in enumerate(parts):
        at = ((width - _RIGHT + _SCALE_GAP) / width, 1 - (_TOP + 12 + _LINE * number) / height)
        color = palette[1 + number] / 255
        figure.text(*at, "\u25a0", fontsize=11, color=color)
        figure.text(at[0] + _LINE / width, at[1], name, fontsize=8, parse_math=False)


def _add_scale(figure: Any, drawn: HeatMap, highest: float, palette: NDArray[np.uint8]) -> None:  # noqa: ANN401  # likewise
    width, height = (side * _DPI for side in figure.get_size_inches())
    tall = min(_SCALE_HEIGHT, height - _TOP - _BOTTOM)
    left = (width - _RIGHT + _SCALE_GAP) / width
    bottom = (height - _TOP - tall) / height
    axes = figure.add_axes((left, bottom, _SCALE_WIDTH / width, tall / height))
    axes.imshow(palette[:0:-1, np.newaxis], aspect="auto", extent=(0, 1, 0, 1))
    axes.set_xticks([])
    axes.yaxis.tick_right()
    shares = (0.0, 0.5, 1.0) if highest > 0 else (0.0,)
    axes.set_yticks(shares)
    axes.set_yticklabels([write_value(share * highest, drawn.unit) for share in shares])
