"""Check that the routes of all PEs fit together.

In: the complete color table. Out: findings. Every rule is one function from the masks of one color
to a mask of the PEs that break it, so that a wafer takes a few array operations; PEs configured by
the same statement share one finding, which names the first PE.

All findings are warnings. Correct programs configure regular patterns whose rim PEs never send, and
several inputs of which one at a time is used; whether a wavelet ever takes such a route is known at
run time only. There, a wavelet that leaves the rectangle is lost, and a wavelet without a route
waits (M57) and is reported at the end.

The routes of a PE are the union of its switch positions, because positions change at run time.
Colors that start torn down are not checked: the program sets their routes before it uses them.
Colors that are swapped on the way are checked only against the rectangle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.diagnostics import Annotation, Diagnostic, Severity
from onewafer.geometry import Direction
from onewafer.image import NUM_COLORS
from onewafer.units import count_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.csl.layout.color_table import ColorTable
    from onewafer.diagnostics import DiagnosticSink
    from onewafer.image import ColorConfig

_LINKS = (Direction.WEST, Direction.EAST, Direction.SOUTH, Direction.NORTH)
_NEVER_TAKEN = "this is correct if nothing is sent there; a wavelet that is sent waits forever"


def check_routes(table: ColorTable, sink: DiagnosticSink) -> None:
    """Report every route that drops, blocks or mixes wavelets. Run once the table is complete."""
    configs = table.configs
    if not configs:
        return
    routes = table.routes
    spans = table.spans
    rx_of_config = _lookup([_union(config, is_rx=True) for config in configs])
    tx_of_config = _lookup([_union(config, is_rx=False) for config in configs])
    is_merging = _lookup([_merges(config) for config in configs])
    is_fixed = _lookup([not (config.teardown or config.swap_mask) for config in configs])
    is_swapped = _lookup([config.swap_mask != 0 for config in configs])
    starts_torn_down = _lookup([config.teardown for config in configs])
    for color in range(NUM_COLORS):
        config = routes[:, :, color]
        if not (config >= 0).any():
            continue
        plane = _ColorPlane(
            color,
            rx_of_config[config],
            tx_of_config[config],
            is_fixed[config].astype(bool),
            starts_torn_down[config].astype(bool),
            (is_swapped[config] | is_swapped[routes[:, :, color ^ 1]]).astype(bool),
        )
        findings = _Findings(table, plane, spans[:, :, color], config, sink)
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
    """Return an array whose last element is the value for NO_ROUTE, the index −1."""
    return np.array([*values, 0], dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class _ColorPlane:
    """The routes of one color; arrays are `[y, x]`."""

    color: int
    rx: NDArray[np.uint8]
    tx: NDArray[np.uint8]
    is_fixed: NDArray[np.bool_]
    """The color is known here, keeps its number, and does not start torn down."""
    starts_torn_down: NDArray[np.bool_]
    swaps: NDArray[np.bool_]
    """PEs that swap this color with the other color of its pair."""

    def leaving(self, direction: Direction) -> NDArray[np.bool_]:
        """PEs at the rim that send out of the rectangle."""
        is_rim = ~_neighbour(np.ones_like(self.is_fixed), direction)
        return _has(self.tx, direction) & is_rim & ~self.starts_torn_down

    def not_accepted(self, direction: Direction) -> NDArray[np.bool_]:
        """PEs that send to a neighbour that never receives from this side."""
        accepts = _neighbour(_has(self.rx, direction.opposite), direction)
        return _has(self.tx, direction) & ~accepts & self._is_comparable(direction)

    def without_sender(self, direction: Direction) -> NDArray[np.bool_]:
        """PEs that receive from a neighbour that does not send, or from beyond the rim."""
        sends = _neighbour(_has(self.tx, direction.opposite), direction)
        is_torn_down = _neighbour(_is_torn_down(self), direction)
        return _has(self.rx, direction) & ~sends & self.is_fixed & ~is_torn_down

    def _is_comparable(self, direction: Direction) -> NDArray[np.bool_]:
        exists = _neighbour(np.ones_like(self.is_fixed), direction)
        is_changed = _neighbour(_is_torn_down(self) | self.swaps, direction)
        return exists & self.is_fixed & ~is_changed


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
class _Group:
    """The PEs that break a rule and are configured by one statement; (x, y) is the first."""

    x: int
    y: int
    others: str
    """` and n other PEs`, or an empty text."""


@dataclass(frozen=True, slots=True)
class _Findings:
    """Turns masks of PEs into findings, one for all PEs configured by one statement."""

    table: ColorTable
    plane: _ColorPlane
    spans: NDArray[np.int32]
    config: NDArray[np.int16]
    sink: DiagnosticSink

    @property
    def color(self) -> int:
        return self.plane.color

    def report_two_drivers(self, broken: NDArray[np.bool_]) -> None:
        for group in self._groups(broken):
            index = int(self.config[group.y, group.x])
            masks = [p.rx for p in self.table.configs[index].positions if p is not None]
            mask = next(mask for mask in masks if mask.bit_count() > 1)
            sides = " and ".join(d.name for d in Direction if mask & (1 << d))
            self._report(
                group,
                "two-drivers",
                f"color {self.color} has two drivers at {_pes(group)}: it receives from {sides} "
                "at once",
                note="the simulated machine merges what comes; on hardware it is undefined what "
                "happens if wavelets arrive from several sides at the same time",
                help_text="let one side at a time send; otherwise leave one direction in `.rx`, "
                "take turns with `.switches`, or use a second color",
            )

    def report_leaving(self, direction: Direction, broken: NDArray[np.bool_]) -> None:
        for group in self._groups(broken):
            self._report(
                group,
                "route-leaves-rectangle",
                f"color {self.color} leaves the program's {self.table.width}×{self.table.height} "
                f"rectangle at {_pes(group)}, going {direction.name}",
                note="this is correct if nothing is sent there, or if it may be lost: wavelets "
                "that leave are lost",
                help_text=f"there is no PE on that side: at this edge leave {direction.name} out "
                "of `.tx`, or enlarge the rectangle with `@set_rectangle`",
            )

    def report_not_accepted(self, direction: Direction, broken: NDArray[np.bool_]) -> None:
        side = direction.opposite.name
        for group in self._groups(broken):
            neighbour = _step(group, direction)
            span = self.table.span_at(*neighbour, self.color)
            self._report(
                group,
                "route-not-accepted",
                f"color {self.color} goes {direction.name} from {_pes(group)} to PE {neighbour}, "
                f"which does not receive it from {side}",
                other=Annotation(span, f"PE {neighbour} is configured here") if span else None,
                note=_NEVER_TAKEN,
                help_text=f"add `.rx = .{{ {side} }}` to the color at PE {neighbour}, or leave "
                f"{direction.name} out of `.tx` here",
            )

    def report_without_sender(self, direction: Direction, broken: NDArray[np.bool_]) -> None:
        for group in self._groups(broken):
            x, y = neighbour = _step(group, direction)
            is_inside = 0 <= x < self.table.width and 0 <= y < self.table.height
            sender = f"PE {neighbour} never sends it there" if is_inside else "no PE is there"
            self._report(
                group,
                "route-without-sender",
                f"color {self.color} is received from {direction.name} at {_pes(group)}, but "
                f"{sender}",
                help_text=f"leave {direction.name} out of `.rx`, or let that side send the color",
            )

    def _groups(self, broken: NDArray[np.bool_]) -> list[_Group]:
        """Group the broken PEs by statement."""
        cells = np.flatnonzero(broken)
        _, first, sizes = np.unique(
            self.spans.ravel()[cells], return_index=True, return_counts=True
        )
        groups: list[_Group] = []
        for index in np.argsort(first):
            y, x = divmod(int(cells[first[index]]), self.table.width)
            others = int(sizes[index]) - 1
            groups.append(_Group(x, y, f" and {count_of(others, 'other PE')}" if others else ""))
        return groups

    def _report(
        self,
        group: _Group,
        code: str,
        message: str,
        *,
        help_text: str,
        other: Annotation | None = None,
        note: str = "",
    ) -> None:
        span = self.table.span_at(group.x, group.y, self.color)
        self.sink.report(
            Diagnostic(
                code,
                message,
                Annotation(span) if span else None,
                (other,) if other else (),
                (note,) if note else (),
                help_text,
                Severity.WARNING,
            )
        )


def _pes(group: _Group) -> str:
    return f"PE ({group.x}, {group.y}){group.others}"


def _step(group: _Group, direction: Direction) -> tuple[int, int]:
    dx, dy = direction.step
    return group.x + dx, group.y + dy
