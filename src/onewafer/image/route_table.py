"""The routes of a wafer image as an ASCII table: a line for each PE and color (`--out-routes`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from onewafer.geometry import Direction
from onewafer.image.route import NO_ROUTE, PopMode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.image.route import ColorConfig, SwitchPosition
    from onewafer.image.wafer_image import WaferImage

_HEAD: Final = ("PE", "color", "routes", "switch")


def route_table(image: WaferImage) -> str:
    """Return the routes of every color as text: PEs row by row, the colors of each by number.

    Coordinates are the program's. Positions of a switch are separated by `|`; the last column names
    the first one if it is not position 0, ring mode, when commands are popped, and teardown.
    """
    rows: list[tuple[str, ...]] = [_HEAD]
    for y, x, color in np.argwhere(image.config_of_color != NO_ROUTE).tolist():
        config = image.color_configs[int(image.config_of_color[y, x, color])]
        names = "".join(f" {name}" for name in image.names_of_color(color))
        routes = " | ".join(map(_route, config.positions))
        rows.append((f"({x}, {y})", f"{color}{names}", routes, _switch(config)))
    if len(rows) == 1:
        return "no PE configures a color\n"
    return _aligned(rows)


def _route(position: SwitchPosition | None) -> str:
    if position is None:
        return "invalid"
    return f"{_directions(position.rx)} -> {_directions(position.tx)}"


def _directions(mask: int) -> str:
    return ",".join(d.name for d in Direction if mask >> d & 1) or "nowhere"


def _switch(config: ColorConfig) -> str:
    parts = [f"from {config.current_position}"] * (config.current_position != 0)
    parts += ["ring"] * config.ring_mode
    if config.pop_mode is not PopMode.NO_POP:
        parts.append(config.pop_mode.name.lower())
    parts += ["teardown"] * config.teardown
    return ", ".join(parts)


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    return "\n".join(lines) + "\n"
