"""The colors of codes: dark to light for values, also for color-blind readers.

The values' palette goes through points of viridis (Nathaniel Smith and Stéfan van der Walt, CC0),
that of differences through points of ColorBrewer's PuOr (Cynthia Brewer, Apache-2.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from onewafer.viewer.heat_maps import Unit

if TYPE_CHECKING:
    from collections.abc import Sequence

Palette = NDArray[np.uint8]
"""`[256, 3]`: red, green and blue of each code; the page may replace that of code 0."""

_VIRIDIS = (
    (68, 1, 84),
    (71, 44, 122),
    (59, 81, 139),
    (44, 113, 142),
    (33, 144, 141),
    (39, 173, 129),
    (92, 200, 99),
    (170, 220, 50),
    (253, 231, 37),
)
_DIFFERENCES = (
    (84, 39, 136),
    (153, 142, 195),
    (247, 247, 247),
    (241, 163, 64),
    (179, 88, 6),
)
_PROGRAMS = (
    (78, 121, 167),
    (242, 142, 43),
    (118, 183, 178),
    (225, 87, 89),
    (89, 161, 79),
    (237, 201, 72),
    (176, 122, 161),
    (255, 157, 167),
    (156, 117, 95),
    (186, 176, 172),
)
ABSENT = (128, 128, 128)


def palette_of(unit: Unit, parts: Sequence[str]) -> Palette:
    """Return the palette of a map; `parts` are the model's parts."""
    match unit:
        case Unit.PROGRAM:
            numbers = (_PROGRAMS[i % len(_PROGRAMS)] for i in range(255))  # without order
            return _with_absent(np.array([*numbers], np.uint8))
        case Unit.PART:
            return part_palette(parts)
        case _:
            return value_palette()


def value_palette() -> Palette:
    """Return the palette of ordered values."""
    return _through(_VIRIDIS)


def part_palette(parts: Sequence[str]) -> Palette:
    """Return the palette of a model's parts; collectives have a lighter color of their part.

    A part is named `MLP`, and its collectives `MLP, collectives`.
    """
    owners = list(dict.fromkeys(part.partition(",")[0] for part in parts))
    colors = np.full((255, 3), ABSENT, np.uint8)
    for number, part in enumerate(parts[:255]):
        owner, comma, _ = part.partition(",")
        color = np.array(_PROGRAMS[owners.index(owner) % len(_PROGRAMS)])
        colors[number] = (color + 255) // 2 if comma else color
    return _with_absent(colors)


def difference_palette() -> Palette:
    """Return the palette of differences: purple is less, orange is more, white is none."""
    return _through(_DIFFERENCES)


def _through(colors: Sequence[tuple[int, int, int]]) -> Palette:
    """Return 255 colors interpolated through the given ones."""
    points = np.array(colors, np.float64)
    at = np.linspace(0, len(points) - 1, 255)
    channels = [np.interp(at, np.arange(len(points)), points[:, c]) for c in range(3)]
    return _with_absent(np.rint(np.stack(channels, axis=1)).astype(np.uint8))


def _with_absent(colors: NDArray[np.uint8]) -> Palette:
    return np.concatenate([np.array([ABSENT], np.uint8), colors])
