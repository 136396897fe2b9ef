"""The plan of the whole layout: the places of regions, their routes and colors.

In: regions, links and streams. Out: a `FabricPlan`, from which the CSL layout is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.errors import HostError
from onewafer.sdk_layout.color_allocation import allocate_colors
from onewafer.sdk_layout.loc_stream import place_loc_streams
from onewafer.sdk_layout.nets import make_nets
from onewafer.sdk_layout.placement import check_placement, corner
from onewafer.sdk_layout.router import route_nets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.arch import Architecture
    from onewafer.sdk_layout.code_region import CodeRegion
    from onewafer.sdk_layout.color import Color
    from onewafer.sdk_layout.link import Link
    from onewafer.sdk_layout.loc_stream import LocStream, PlacedLocStream
    from onewafer.sdk_layout.nets import Net
    from onewafer.sdk_layout.router import RoutedLink


@dataclass(frozen=True, slots=True)
class FabricPlan:
    """Everything about the program but its code. PEs are in fabric coordinates."""

    width: int
    height: int
    regions: tuple[CodeRegion, ...]
    routed: tuple[RoutedLink, ...]
    loc_streams: tuple[PlacedLocStream, ...]
    values: dict[str, int]
    """Global name of a color → its physical value."""

    def value(self, color: Color) -> int:
        """Return the physical value of a color."""
        return self.values[color.get_global_name()]


def make_plan(
    regions: Sequence[CodeRegion],
    links: Sequence[Link],
    architecture: Architecture,
    loc_streams: Sequence[LocStream] = (),
) -> FabricPlan:
    """Place, route and color a layout.

    Raises:
        HostError: the layout is impossible; the message says what would help.
    """
    if not regions:
        raise HostError("the layout has no code region: call create_code_region first")
    check_placement(regions, architecture)
    _check_connected(regions, links)
    nets, routed = _route(regions, links, architecture)
    values = allocate_colors(nets, architecture)
    corners = [corner(region.rectangle) for region in regions]
    corners += [(x + 1, y + 1) for link in routed for lane in link.lanes for x, y in lane]
    return FabricPlan(
        width=max(x for x, _ in corners),
        height=max(y for _, y in corners),
        regions=tuple(regions),
        routed=tuple(routed),
        loc_streams=place_loc_streams(loc_streams, regions),
        values={
            name: value for net, value in zip(nets, values, strict=True) for name in net.colors
        },
    )


def _check_connected(regions: Sequence[CodeRegion], links: Sequence[Link]) -> None:
    connected = {port for link in links for port in link.ports}
    for port in (port for region in regions for port in region.ports):
        if port not in connected:
            stream = f"create_{'input' if port.is_input else 'output'}_stream"
            raise HostError(f"the {port} leads nowhere: connect it to a port, or call {stream}")


def _route(
    regions: Sequence[CodeRegion], links: Sequence[Link], architecture: Architecture
) -> tuple[list[Net], list[RoutedLink]]:
    """Route on a small fabric: first with one free column, then with room for lanes."""
    corners = [corner(region.rectangle) for region in regions]
    corners += [(x + 1, y + 1) for x, y in (link.io_pe for link in links if link.io_pe)]
    right, bottom = max(x for x, _ in corners), max(y for _, y in corners)
    num_lanes = sum(link.ports[0].num_lanes for link in links)
    failure: HostError | None = None
    for margin in (1, num_lanes + 2):
        width = min(right + margin, architecture.fabric_width)
        height = min(bottom + margin, architecture.fabric_height)
        nets = make_nets(regions, links, (height, width))
        try:
            return nets, route_nets(regions, nets, (height, width))
        except HostError as error:
            failure = failure or error
    assert failure is not None
    raise failure
