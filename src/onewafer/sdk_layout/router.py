"""Routes of all links: the PEs of each lane, and the PEs where streams meet the host.

In: regions and nets. Out: `RoutedLink`s; the nets' PEs grow by the paths. Nets are routed one
after the other, in the order of the program: they may share PEs and links, because each color has
buffers of its own, but they keep out of each other's way where that is cheap.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from onewafer.errors import HostError
from onewafer.geometry import Direction
from onewafer.image import NUM_COLORS, SwitchPosition
from onewafer.sdk_layout.code_region import describe_positions
from onewafer.sdk_layout.path_search import HOP_COST, NoPathError, Request, Terminal, find_paths
from onewafer.sdk_layout.region_table import rows_and_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from onewafer.sdk_layout.code_region import CodeRegion, PortHandle
    from onewafer.sdk_layout.link import Link
    from onewafer.sdk_layout.nets import Net
    from onewafer.sdk_layout.path_search import Path, Pe
    from onewafer.sdk_layout.routing import Positions

_CODE_COST = 3 * HOP_COST
"""Cost of crossing a PE of a region, whose program may need the links."""
_CROWD_COST = 2
"""Cost of a PE for each color that it has already."""
_LINKS = (Direction.WEST, Direction.EAST, Direction.SOUTH, Direction.NORTH)


@dataclass(frozen=True, slots=True)
class RoutedLink:
    """A link and its lanes, each from the sender's PE (or the host's) to the receiver's."""

    link: Link
    net: Net
    lanes: tuple[Path, ...]

    def hops(self) -> Iterator[tuple[Pe, Positions]]:
        """Yield every PE of the lanes with the switch positions of the color there."""
        for lane in self.lanes:
            for number, pe in enumerate(lane):
                came = _side(lane[number - 1], pe) if number else None
                goes = _side(lane[number + 1], pe) if number + 1 < len(lane) else None
                yield pe, self._positions(came, goes)

    def _positions(self, came: Direction | None, goes: Direction | None) -> Positions:
        """Return the switch positions of a PE between two sides of a lane; None: the lane's end."""
        if came is None and self.link.tx is not None and goes is not None:
            return tuple(replace(p, tx=1 << goes) for p in self.link.tx.positions)
        if goes is None and self.link.rx is not None and came is not None:
            return tuple(replace(p, rx=1 << came) for p in self.link.rx.positions)
        rx = Direction.RAMP if came is None else came
        tx = Direction.RAMP if goes is None else goes
        return (SwitchPosition(1 << rx, 1 << tx),)

    @property
    def io_pe(self) -> Pe | None:
        """The PE at which the host meets a stream; None for a connection."""
        if self.link.tx is None:
            return self.lanes[0][0]
        return self.lanes[0][-1] if self.link.rx is None else None


def route_nets(
    regions: Sequence[CodeRegion], nets: Sequence[Net], shape: tuple[int, int]
) -> list[RoutedLink]:
    """Route the links of all nets on a fabric of `shape` (height, width).

    Raises:
        HostError: a link has no path.
    """
    is_code = np.zeros(shape, np.bool_)
    for region in regions:
        is_code[rows_and_columns(region.rectangle)] = True
    crowd = sum((net.pes.astype(np.int64) for net in nets), np.zeros(shape, np.int64))
    router = _Router(is_code, crowd, set())
    return [routed for net in nets for routed in router.route(net)]


@dataclass(frozen=True, slots=True)
class _Router:
    is_code: NDArray[np.bool_]
    crowd: NDArray[np.int64]
    """Number of colors at each PE so far."""
    io_pes: set[Pe]
    """PEs at which a stream meets the host already."""

    def route(self, net: Net) -> list[RoutedLink]:
        """Find the paths of one net, and add them to its PEs."""
        owners = [link for link in net.links for _ in range(_num_lanes(link))]
        requests = [request for link in net.links for request in self._requests(link)]
        if not requests:
            return []
        is_blocked = net.pes | (self.crowd >= NUM_COLORS)
        costs = _CODE_COST * self.is_code + _CROWD_COST * self.crowd
        try:
            paths = find_paths(requests, is_blocked, costs)
        except NoPathError as error:
            raise _no_path(owners[error.request], requests, error) from None
        self._claim(net, paths)
        routed: list[RoutedLink] = []
        for link in net.links:
            lanes = [path for path, owner in zip(paths, owners, strict=True) if owner is link]
            if link.tx is None:  # the search went from the port to the host
                lanes = [lane[::-1] for lane in lanes]
            routed.append(RoutedLink(link, net, tuple(lanes)))
        self.io_pes.update(r.io_pe for r in routed if r.io_pe is not None)
        return routed

    def _claim(self, net: Net, paths: Sequence[Path]) -> None:
        for x, y in {pe for path in paths for pe in path}:
            self.crowd[y, x] += not net.pes[y, x]
            net.pes[y, x] = True

    def _requests(self, link: Link) -> list[Request]:
        if link.tx is not None and link.rx is not None:
            ends = zip(_terminals(link.tx), _terminals(link.rx), strict=True)
            return [Request(start, end) for start, end in ends]
        (port,) = link.ports
        (terminal,) = _terminals(port)
        return [Request(terminal, None, self._goals(link))]

    def _goals(self, link: Link) -> frozenset[Pe]:
        """Return the free PEs where a stream may meet the host: at the west or east rim, if any."""
        if link.io_pe is not None:
            self._check_io_pe(link, link.io_pe)
            return frozenset((link.io_pe,))
        width = self.is_code.shape[1]
        free = {(int(x), int(y)) for y, x in np.argwhere(~self.is_code)} - self.io_pes
        rim = {(x, y) for x, y in free if x in (0, width - 1)}
        return frozenset(rim or free)

    def _check_io_pe(self, link: Link, pe: Pe) -> None:
        x, y = pe
        height, width = self.is_code.shape
        if not (0 <= x < width and 0 <= y < height):
            raise HostError(f"{link}: io_loc ({x}, {y}) is outside the fabric")
        if self.is_code[y, x] or pe in self.io_pes:
            what = "a code region" if self.is_code[y, x] else "another stream"
            raise HostError(
                f"{link}: io_loc ({x}, {y}) belongs to {what}: choose a PE of its own, or leave "
                "io_loc out"
            )


def _num_lanes(link: Link) -> int:
    return link.ports[0].num_lanes


def _terminals(port: PortHandle) -> list[Terminal]:
    """Return the ends of a port's lanes, north to south or west to east."""
    used = 0
    for position in port.positions:
        used |= position.tx if port.is_input else position.rx
    sides = frozenset(d for d in _LINKS if not used >> d & 1)
    if not sides:
        raise HostError(
            f"the {port} uses all four sides itself ({describe_positions(port.positions)}): leave "
            "one for the data to pass"
        )
    place = port.region.rectangle
    return [
        Terminal((place.x + x, place.y + y), sides, port.edge.direction)
        for x, y in port.strip.pes()
    ]


def _side(neighbour: Pe, pe: Pe) -> Direction:
    """Return the side of a PE on which a neighbour lies."""
    step = neighbour[0] - pe[0], neighbour[1] - pe[1]
    return next(direction for direction in _LINKS if direction.step == step)


def _no_path(link: Link, requests: Sequence[Request], error: NoPathError) -> HostError:
    request = requests[error.request]
    ends = f"from PE {request.start.pe}" + (f" to PE {request.end.pe}" if request.end else "")
    if error.conflict is None:
        return HostError(
            f"{link} has no path {ends}: all ways are taken by PEs that use its color already, or "
            "by the rim of the fabric; leave a free row or column beside the ports"
        )
    return HostError(
        f"{link}: its lanes, and others of the same color, need PE {error.conflict} at once; "
        "lanes cannot cross. Let the two sides face each other, leave more free PEs between the "
        "regions, or connect the ports in the other order"
    )
