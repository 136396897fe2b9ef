"""Whether the routes of all PEs fit together.

In: the complete color table. Out: nothing but findings. Every rule is one function from the
masks of one color to a mask of the PEs that break it, so that a wafer takes a few array
operations; PEs configured by the same statement share one finding, which names the first of them.

A PE may receive from and send to whatever any of its switch positions says, because positions
change at run time. Colors that start torn down are checked only against the rectangle: the program
sets their routes before it uses them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.diagnostics import Annotation, Diagnostic, Severity
from onewafer.geometry import Direction
from onewafer.image import NUM_COLORS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.csl.layout.color_table import ColorTable
    from onewafer.diagnostics import DiagnosticSink
    from onewafer.image import ColorConfig

_LINKS = (Direction.WEST, Direction.EAST, Direction.SOUTH, Direction.NORTH)


def check_routes(table: ColorTable, sink: DiagnosticSink) -> None:
    """Report every route that drops, blocks or mixes wavelets. Run once the table is complete."""
    configs = table.configs
    if not configs:
        return
    routes = table.routes
    places = table.places
    rx_of_config = _lookup([_union(config, is_rx=True) for config in configs])
    tx_of_config = _lookup([_union(config, is_rx=False) for config in configs])
    is_merging = _lookup([_merges(config) for config in configs])
    is_fixed = _lookup([not config.teardown for config in configs])
    for color in range(NUM_COLORS):
        config = routes[:, :, color]
        if not (config >= 0).any():
            continue
        plane = _ColorPlane(
            color,
            rx_of_config[config],
            tx_of_config[config],
            is_fixed[config].astype(bool),
        )
        findings = _Findings(table, places[:, :, color], config, color, sink)
        findings.report_two_drivers(is_merging[config].astype(bool))
        for direction in _LINKS:
            findings.report_leaving(direction, plane.leaving(direction))
            findings.report_not_accepted(direction, plane.not_accepted(direction))
            findings.report_without_sender(direction, plane.without_sender(direction))


def _union(config: ColorConfig, *, is_rx: bool) -> int:
    mask = 0
    for position in config.positions:
        if position is not None:
            mask |= position.rx if is_rx else position.tx
    return mask


def _merges(config: ColorConfig) -> bool:
    return any(position and position.rx.bit_count() > 1 for position in config.positions)


def _lookup(values: list[int]) -> NDArray[np.uint8]:
    """Return an array whose last element answers for NO_ROUTE, the index −1."""
    return np.array([*values, 0], dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class _ColorPlane:
    """The routes of one color; arrays are `[y, x]`."""

    color: int
    rx: NDArray[np.uint8]
    tx: NDArray[np.uint8]
    is_fixed: NDArray[np.bool_]
    """The color is known here and does not start torn down."""

    def leaving(self, direction: Direction) -> NDArray[np.bool_]:
        """PEs at the rim that send over it."""
        return _has(self.tx, direction) & ~_neighbour(np.ones_like(self.is_fixed), direction)

    def not_accepted(self, direction: Direction) -> NDArray[np.bool_]:
        """PEs that send to a neighbour that never receives from this side."""
        accepts = _neighbour(_has(self.rx, direction.opposite), direction)
        return _has(self.tx, direction) & ~accepts & self._is_comparable(direction)

    def without_sender(self, direction: Direction) -> NDArray[np.bool_]:
        """PEs that receive from a side where nobody sends, the rim included."""
        sends = _neighbour(_has(self.tx, direction.opposite), direction)
        is_torn_down = _neighbour(_is_torn_down(self), direction)
        return _has(self.rx, direction) & ~sends & self.is_fixed & ~is_torn_down

    def _is_comparable(self, direction: Direction) -> NDArray[np.bool_]:
        exists = _neighbour(np.ones_like(self.is_fixed), direction)
        return exists & self.is_fixed & ~_neighbour(_is_torn_down(self), direction)


def _is_torn_down(plane: _ColorPlane) -> NDArray[np.bool_]:
    return ((plane.rx | plane.tx) != 0) & ~plane.is_fixed


def _has(masks: NDArray[np.uint8], direction: Direction) -> NDArray[np.bool_]:
    return (masks & (1 << direction)) != 0


def _neighbour(values: NDArray[np.bool_], direction: Direction) -> NDArray[np.bool_]:
    """Return, at every PE, the value of its neighbour; False beyond the rim."""
    result = np.zeros_like(values)
    match direction:
        case Direction.WEST:
            result[:, 1:] = values[:, :-1]
        case Direction.EAST:
            result[:, :-1] = values[:, 1:]
        case Direction.SOUTH:
            result[:-1, :] = values[1:, :]
        case Direction.NORTH:
            result[1:, :] = values[:-1, :]
        case Direction.RAMP:
            result[:] = values
    return result


@dataclass(frozen=True, slots=True)
class _Findings:
    """Turns masks of PEs into findings, one for all PEs configured by one statement."""

    table: ColorTable
    places: NDArray[np.int32]
    config: NDArray[np.int16]
    color: int
    sink: DiagnosticSink

    def report_two_drivers(self, broken: NDArray[np.bool_]) -> None:
        for x, y, others in self._groups(broken):
            index = int(self.config[y, x])
            masks = [p.rx for p in self.table.configs[index].positions if p is not None]
            mask = next(mask for mask in masks if mask.bit_count() > 1)
            sides = " and ".join(d.name for d in Direction if mask & (1 << d))
            self._report(
                Diagnostic(
                    "two-drivers",
                    f"color {self.color} has two drivers at PE ({x}, {y}){others}: it receives "
                    f"from {sides} at once",
                    help="a router takes a color from one side at a time: leave one direction in "
                    "`.rx`, take turns with `.switches`, or use a second color",
                ),
                x,
                y,
            )

    def report_leaving(self, direction: Direction, broken: NDArray[np.bool_]) -> None:
        for x, y, others in self._groups(broken):
            self._report(
                Diagnostic(
                    "route-leaves-rectangle",
                    f"color {self.color} leaves the program's {self.table.width}×"
                    f"{self.table.height} rectangle at PE ({x}, {y}){others}, going "
                    f"{direction.name}",
                    help=f"there is no PE on that side: at this edge leave {direction.name} out "
                    "of `.tx`, or enlarge the rectangle with `@set_rectangle`",
                ),
                x,
                y,
            )

    def report_not_accepted(self, direction: Direction, broken: NDArray[np.bool_]) -> None:
        for x, y, others in self._groups(broken):
            neighbour = (x + direction.step[0], y + direction.step[1])
            place = self.table.place(*neighbour, self.color)
            side = direction.opposite.name
            self._report(
                Diagnostic(
                    "route-not-accepted",
                    f"color {self.color} goes {direction.name} from PE ({x}, {y}){others} to PE "
                    f"{neighbour}, which does not receive it from {side}",
                    secondary=(Annotation(place, f"PE {neighbour} is configured here"),)
                    if place
                    else (),
                    notes=("the first wavelet would wait in the link for ever",),
                    help=f"add `.rx = .{{ {side} }}` to the color at PE {neighbour}, or leave "
                    f"{direction.name} out of `.tx` here",
                ),
                x,
                y,
            )

    def report_without_sender(self, direction: Direction, broken: NDArray[np.bool_]) -> None:
        for x, y, others in self._groups(broken):
            neighbour = (x + direction.step[0], y + direction.step[1])
            is_inside = 0 <= neighbour[0] < self.table.width and (
                0 <= neighbour[1] < self.table.height
            )
            sender = f"PE {neighbour} never sends it there" if is_inside else "no PE is there"
            self._report(
                Diagnostic(
                    "route-without-sender",
                    f"color {self.color} is received from {direction.name} at PE ({x}, {y})"
                    f"{others}, but {sender}",
                    help=f"leave {direction.name} out of `.rx`, or let that side send the color",
                    severity=Severity.WARNING,
                ),
                x,
                y,
            )

    def _groups(self, broken: NDArray[np.bool_]) -> list[tuple[int, int, str]]:
        """Return (x, y, " and n other PEs") of the first PE of every configuring statement."""
        cells = np.flatnonzero(broken)
        if not len(cells):
            return []
        _, first, count = np.unique(
            self.places.ravel()[cells], return_index=True, return_counts=True
        )
        groups: list[tuple[int, int, str]] = []
        for index, size in sorted(zip(first.tolist(), count.tolist(), strict=True)):
            y, x = divmod(int(cells[index]), self.table.width)
            plural = "s" if size > 2 else ""  # noqa: PLR2004  # one other PE besides the first
            groups.append((x, y, f" and {size - 1} other PE{plural}" if size > 1 else ""))
        return groups

    def _report(self, diagnostic: Diagnostic, x: int, y: int) -> None:
        place = self.table.place(x, y, self.color)
        primary = Annotation(place) if place else None
        self.sink.report(
            Diagnostic(
                diagnostic.code,
                diagnostic.message,
                primary,
                diagnostic.secondary,
                diagnostic.notes,
                diagnostic.help,
                diagnostic.severity,
            )
        )
