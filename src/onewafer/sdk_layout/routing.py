"""Routes and switch positions of colors, as host scripts of the SDK write them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from onewafer.errors import HostError
from onewafer.geometry import Direction
from onewafer.image import SwitchPosition

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Self

    from onewafer.geometry import Rectangle

MAX_POSITIONS = 4
Positions = tuple[SwitchPosition, ...]
"""Switch positions of one color at one PE, the first in force at the start."""


class Route(IntEnum):
    """A port of a router."""

    RAMP = 0
    EAST = 1
    WEST = 2
    NORTH = 3
    SOUTH = 4

    @property
    def direction(self) -> Direction:
        """The same port as a direction of the image."""
        return Direction[self.name]


class Edge(IntEnum):
    """A side of a code region."""

    TOP = 0
    BOTTOM = 1
    LEFT = 2
    RIGHT = 3

    @property
    def direction(self) -> Direction:
        """The direction that it faces."""
        return _FACES[self]

    def strip(self, region: Rectangle) -> Rectangle:
        """Return the row or column of PEs along this side."""
        x, y, width, height = region.x, region.y, region.width, region.height
        match self:
            case Edge.TOP:
                return type(region)(x, y, width, 1)
            case Edge.BOTTOM:
                return type(region)(x, y + height - 1, width, 1)
            case Edge.LEFT:
                return type(region)(x, y, 1, height)
            case Edge.RIGHT:
                return type(region)(x + width - 1, y, 1, height)


_FACES = {
    Edge.TOP: Direction.NORTH,
    Edge.BOTTOM: Direction.SOUTH,
    Edge.LEFT: Direction.WEST,
    Edge.RIGHT: Direction.EAST,
}


class RoutingPosition:
    """The directions from which a color comes and to which it goes, in one switch position.

    The methods change the object and return it, so that calls can be chained.
    """

    def __init__(self) -> None:
        self._input: list[Route] = []
        self._output: list[Route] = []

    def set_input(self, routes: Sequence[Route]) -> Self:
        """Set the sides from which the color comes."""
        self._input = _checked(routes, "set_input")
        return self

    def set_output(self, routes: Sequence[Route]) -> Self:
        """Set the sides to which the color goes."""
        self._output = _checked(routes, "set_output")
        return self

    def add_input(self, route: Route) -> Self:
        """Add a side from which the color comes."""
        return self.set_input([*self._input, route])

    def add_output(self, route: Route) -> Self:
        """Add a side to which the color goes."""
        return self.set_output([*self._output, route])

    def get_input(self) -> list[Route]:
        """Return the sides that the color comes from."""
        return list(self._input)

    def get_output(self) -> list[Route]:
        """Return the sides that the color goes to."""
        return list(self._output)

    def __repr__(self) -> str:
        """Return the calls that make it."""
        return (
            f"RoutingPosition().set_input({_names(self._input)}).set_output({_names(self._output)})"
        )


@dataclass(frozen=True, slots=True)
class EdgeRouteInfo:
    """Switch positions for the PEs along one side of a region."""

    edge: Edge
    positions: Positions


def get_edge_routing(edge: Edge, routes: Sequence[RoutingPosition]) -> EdgeRouteInfo:
    """Return switch positions along one side, for `edge_routes` of `CodeRegion.paint_all`.

    Raises:
        HostError: the positions are incomplete.
    """
    side = to_edge(edge, "get_edge_routing")
    return EdgeRouteInfo(side, read_positions(routes, f"get_edge_routing({side.name})"))


def to_edge(edge: object, where: str) -> Edge:
    """Return a side of a region from a side or its number.

    Raises:
        HostError: it is none.
    """
    try:
        return Edge(edge)  # pyright: ignore[reportArgumentType]
    except ValueError:
        names = ", ".join(f"Edge.{edge.name}" for edge in Edge)
        raise HostError(f"{where}: {edge!r} is not a side: write one of {names}") from None


def read_positions(routes: Sequence[RoutingPosition], where: str) -> Positions:
    """Return complete switch positions; `where` says which call they were passed to.

    Raises:
        HostError: none, too many, or one without an input or an output; or two that no switch
            can have both.
    """
    positions = _masks(routes, where)
    for number, position in enumerate(positions):
        if not (position.rx and position.tx):
            side, call = ("input", "set_input") if not position.rx else ("output", "set_output")
            raise HostError(
                f"{where}: position {number} has no {side}: add .{call}([Route.…]); only ports "
                "leave their outer side open"
            )
    check_switch(positions, where)
    return positions


def read_open_positions(
    routes: Sequence[RoutingPosition], where: str, *, is_input: bool
) -> Positions:
    """Return the switch positions of a port, whose outer side is 0: the compiler finds it.

    Raises:
        HostError: none, too many, or one that has the outer side or lacks the inner one.
    """
    positions = _masks(routes, where)
    outer, inner = ("input", "output") if is_input else ("output", "input")
    for number, position in enumerate(positions):
        outside, inside = (position.rx, position.tx) if is_input else (position.tx, position.rx)
        if outside:
            raise HostError(
                f"{where}: position {number} sets the {outer}, which the compiler chooses: "
                f"leave set_{outer} out"
            )
        if not inside:
            raise HostError(f"{where}: position {number} has no {inner}: add .set_{inner}([…])")
    return positions


def check_switch(positions: Positions, where: str) -> None:
    """Refuse positions that one switch cannot have.

    Raises:
        HostError: a position differs from the first in both its input and its output.
    """
    first = positions[0]
    for number, position in enumerate(positions):
        if position.rx != first.rx and position.tx != first.tx:
            raise HostError(
                f"{where}: position {number} changes both the input and the output of position 0; "
                "a switch changes one of them: use a second color for the other"
            )


def masks_to_names(mask: int) -> str:
    """Return the directions of a mask, as CSL lists them: `RAMP, EAST`."""
    return ", ".join(d.name for d in Direction if mask >> d & 1)


def _masks(routes: Sequence[RoutingPosition], where: str) -> Positions:
    if not is_list_of(RoutingPosition, routes):
        raise HostError(f"{where}: routes are a list of positions: write [RoutingPosition()…]")
    if not 1 <= len(routes) <= MAX_POSITIONS:
        raise HostError(f"{where}: {len(routes)} positions; a switch has 1 to {MAX_POSITIONS}")
    return tuple(SwitchPosition(_mask(r.get_input()), _mask(r.get_output())) for r in routes)


def _mask(routes: Iterable[Route]) -> int:
    return sum(1 << route.direction for route in routes)


def _checked(routes: Sequence[Route], call: str) -> list[Route]:
    if not is_list_of(Route, routes):
        raise HostError(f"{call} takes a list of routes: write {call}([Route.RAMP, Route.EAST])")
    if len(set(routes)) < len(routes):
        raise HostError(f"{call}({_names(routes)}) names a side twice")
    return list(routes)


def is_list_of(kind: type, given: Sequence[object]) -> bool:
    """Tell whether a script passed a list of items of one kind."""
    return not isinstance(given, kind) and all(isinstance(item, kind) for item in given)


def _names(routes: Sequence[Route]) -> str:
    return f"[{', '.join(f'Route.{route.name}' for route in routes)}]"
