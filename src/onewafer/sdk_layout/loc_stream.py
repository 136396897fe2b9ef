"""Streams of a color that the program painted itself, connected with the host at a PE of a region.

On a real system such a PE lies at the rim, and the painted color leads over the rim to the host.
Here the outer side of the painted color is replaced by a connection of the PE with the host.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onewafer.errors import HostError
from onewafer.geometry import Direction
from onewafer.sdk_layout.code_region import describe_positions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.sdk_layout.code_region import CodeRegion
    from onewafer.sdk_layout.color import Color
    from onewafer.sdk_layout.path_search import Pe
    from onewafer.sdk_layout.routing import Positions

_LINKS = frozenset(1 << direction for direction in Direction) - {1 << Direction.RAMP}


@dataclass(frozen=True, slots=True)
class LocStream:
    """A stream of a color at a PE, in fabric coordinates."""

    name: str
    pe: Pe
    color: Color
    is_input: bool

    def __str__(self) -> str:
        """Return its name in messages."""
        return f"stream '{self.name}' at PE {self.pe}"


@dataclass(frozen=True, slots=True)
class PlacedLocStream:
    """A stream, and the switch positions of its color with the host in place of the outer side."""

    stream: LocStream
    positions: Positions


def place_loc_streams(
    streams: Sequence[LocStream], regions: Sequence[CodeRegion]
) -> tuple[PlacedLocStream, ...]:
    """Return the streams with the outer side of their colors replaced by the host.

    Raises:
        HostError: the color is not painted there, or not towards the outside.
    """
    return tuple(PlacedLocStream(s, _with_host(s, _painted(s, regions))) for s in streams)


def _painted(stream: LocStream, regions: Sequence[CodeRegion]) -> Positions:
    """Return the switch positions that the program painted."""
    x, y = stream.pe
    region = next((r for r in regions if r.rectangle.contains(x, y)), None)
    if region is None:
        raise HostError(f"the {stream} is in no region: give the PE of one that has the color")
    table = region.paints.get(stream.color)
    place = region.rectangle
    positions = None if table is None else table.at(x - place.x, y - place.y)
    if positions is None:
        raise HostError(
            f"the {stream}: color '{stream.color.name}' is not painted there: paint it, with the "
            "side of the host as its " + ("input" if stream.is_input else "output")
        )
    return positions


def _with_host(stream: LocStream, positions: Positions) -> Positions:
    outer = {position.rx if stream.is_input else position.tx for position in positions}
    if not outer <= _LINKS or len(outer) != 1:
        side = "input" if stream.is_input else "output"
        raise HostError(
            f"the {stream}: color '{stream.color.name}' is painted {describe_positions(positions)} "
            f"there; its {side} has to be one side, that of the host, in all positions"
        )
    field = "rx" if stream.is_input else "tx"
    return tuple(replace(position, **{field: 1 << Direction.RAMP}) for position in positions)
