"""The route of a color over the rectangle: each router's configuration, and broken links.

In: an image and a color. Out: a map to draw. A large rectangle is folded: adjacent equal columns
become one, and rows likewise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.geometry import Direction, Rectangle
from onewafer.image import NO_ROUTE, NUM_COLORS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.image import ColorConfig, SwitchPosition, WaferImage

LINKS = (Direction.WEST, Direction.EAST, Direction.SOUTH, Direction.NORTH)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Columns (rows) `first` to `last` that are drawn as one."""

    first: int
    last: int

    def __str__(self) -> str:
        """Return `3`, or `3–17`."""
        return str(self.first) if self.first == self.last else f"{self.first}–{self.last}"

    def __len__(self) -> int:
        """Return the number of columns (rows)."""
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class RouterCell:
    """The route of the color in the router of a PE."""

    config: ColorConfig | None
    """None: the router has no route for the color."""
    has_program: bool
    breaks: frozenset[tuple[int, Direction]]
    """(switch position, direction) pairs in which the PE sends to a PE that does not receive."""

    def positions(self) -> tuple[tuple[int, SwitchPosition], ...]:
        """Return the valid switch positions, the initial one last (it is drawn on top)."""
        if self.config is None:
            return ()
        valid = [(i, p) for i, p in enumerate(self.config.positions) if p is not None]
        return tuple(sorted(valid, key=lambda item: item[0] == self.current))

    @property
    def current(self) -> int:
        """The initial switch position."""
        return self.config.current_position if self.config is not None else 0


@dataclass(frozen=True, slots=True)
class ColorMap:
    """The routers of a color to draw, with totals for the whole program."""

    color: int
    names: tuple[str, ...]
    shown: Rectangle
    """The shown part of the program's rectangle."""
    columns: tuple[Stretch, ...]
    rows: tuple[Stretch, ...]
    cells: dict[tuple[int, int], RouterCell]
    """(index into `columns`, index into `rows`) → router."""
    num_configured: int
    """PEs whose routers have a route for the color."""
    num_sources: int
    """PEs that send the color from their ramps."""
    num_sinks: int
    num_breaks: int
    """PEs that send to a neighbour that does not receive."""
    num_from_host: int = 0
    """PEs at which the host sends, as if from their ramps."""
    num_to_host: int = 0
    """PEs at which the host receives the wavelets to the ramp."""

    @property
    def title(self) -> str:
        """The number of the color with its names."""
        return f"color {self.color}" + (f" ({'/'.join(self.names)})" if self.names else "")

    @property
    def is_folded(self) -> bool:
        """True if a column or row stands for several."""
        return any(len(stretch) > 1 for stretch in (*self.columns, *self.rows))


def configured_colors(image: WaferImage) -> tuple[int, ...]:
    """Return the colors that have a route at some router."""
    known = (image.config_of_color != NO_ROUTE).any(axis=(0, 1))
    return tuple(color for color in range(NUM_COLORS) if known[color])


def map_color(
    image: WaferImage, color: int, *, shown: Rectangle | None = None, folds: bool = False
) -> ColorMap:
    """Return the map of a color in the whole rectangle or a part, folded or PE by PE."""
    part = shown or Rectangle(0, 0, image.width, image.height)
    configs = image.config_of_color[:, :, color]
    breaks = _breaks(image, color)
    looks = _looks(image, configs, breaks)
    looks = looks[:, part.y : part.y + part.height, part.x : part.x + part.width]
    columns = _stretches(looks, axis=2, first=part.x, folds=folds)
    rows = _stretches(looks, axis=1, first=part.y, folds=folds)
    cells = {
        (i, j): _cell(image, configs, breaks, x=column.first, y=row.first)
        for j, row in enumerate(rows)
        for i, column in enumerate(columns)
    }
    ramp = 1 << Direction.RAMP
    return ColorMap(
        color,
        image.names_of_color(color),
        part,
        columns,
        rows,
        cells,
        num_configured=int((configs != NO_ROUTE).sum()),
        num_sources=int((_sets(image, configs, "rx") & ramp).any(axis=0).sum()),
        num_sinks=int((_sets(image, configs, "tx") & ramp).any(axis=0).sum()),
        num_breaks=int(breaks.any(axis=(0, 1)).sum()),
        num_from_host=_count(configs, [config.from_host for config in image.color_configs]),
        num_to_host=_count(configs, [config.to_host for config in image.color_configs]),
    )


def _count(configs: NDArray[np.int16], has_it: list[bool]) -> int:
    """Return the number of PEs whose configuration has a property; `has_it` is by configuration."""
    return int(np.array([*has_it, False])[configs].sum())  # index −1, no route, is the last


def _looks(
    image: WaferImage, configs: NDArray[np.int16], breaks: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return `[3, y, x]`: equal numbers for PEs that are drawn alike."""
    looks = np.zeros((3, *configs.shape), np.int64)
    looks[0] = configs
    looks[1] = image.program_of_pe >= 0
    for bit, (position, direction) in enumerate(np.ndindex(breaks.shape[:2])):
        looks[2] |= breaks[position, direction].astype(np.int64) << bit
    return looks


def _stretches(
    looks: NDArray[np.int64], *, axis: int, first: int, folds: bool
) -> tuple[Stretch, ...]:
    """Return the columns or rows; if `folds`, equal neighbours are joined."""
    lines = np.moveaxis(looks, axis, 0)
    num_lines = len(lines)
    changes = [0]
    if folds:
        differs = (lines[1:] != lines[:-1]).any(axis=(1, 2))
        changes += (np.flatnonzero(differs) + 1).tolist()
    else:
        changes = list(range(num_lines))
    ends = [*changes[1:], num_lines]
    return tuple(Stretch(first + a, first + b - 1) for a, b in zip(changes, ends, strict=True))


def _cell(
    image: WaferImage, configs: NDArray[np.int16], breaks: NDArray[np.bool_], *, x: int, y: int
) -> RouterCell:
    number = int(configs[y, x])
    found = np.argwhere(breaks[:, :, y, x]).tolist()
    return RouterCell(
        image.color_configs[number] if number != NO_ROUTE else None,
        bool(image.program_of_pe[y, x] >= 0),
        frozenset((position, Direction(direction)) for position, direction in found),
    )


_MAX_POSITIONS = 4


def _sets(image: WaferImage, configs: NDArray[np.int16], which: str) -> NDArray[np.int64]:
    """Return the receive (`rx`) or transmit (`tx`) sets, `[position, y, x]`; 0: empty."""
    table = np.zeros((_MAX_POSITIONS, len(image.color_configs) + 1), np.int64)
    for number, config in enumerate(image.color_configs):
        for position, sets in enumerate(config.positions):
            if sets is not None:
                table[position, number] = getattr(sets, which)
    return table[:, configs]  # index −1, no route, is the last column


def _breaks(image: WaferImage, color: int) -> NDArray[np.bool_]:
    """Return `[position, direction, y, x]`: true if the PE sends and is not received (M57).

    A router may receive the color as the other color of its pair.
    """
    configs = image.config_of_color[:, :, color]
    transmit = _sets(image, configs, "tx")
    breaks = np.zeros((_MAX_POSITIONS, len(LINKS), *configs.shape), bool)
    other = image.config_of_color[:, :, color ^ 1]
    received = [
        np.pad(np.bitwise_or.reduce(_sets(image, of_color, "rx"), axis=0), 1)
        for of_color in (configs, other)
    ]
    swaps = np.pad(image.pair_swaps[:, :, color], 1)
    height, width = configs.shape
    for direction in LINKS:
        dx, dy = direction.step
        there, other_there = (
            sets[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width] for sets in received
        )
        swap = swaps[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
        becomes_other = swap >> direction.opposite & 1 == 1
        takes = np.where(becomes_other, other_there, there) >> direction.opposite & 1
        breaks[:, direction] = (transmit >> direction & 1 == 1) & (takes == 0)
    return breaks
