"""Routes of switched colors while their switches do not advance.

A switch advances behind a control wavelet, and these are rare. Between two of them the routes of
its color are those of the current position, and data uses them like routes of colors without
switches: they are *settled*. Advancing the switch unsettles them, and the next data wavelet settles
them again. Marked wavelets always go through the switch, as do colors with a filter, and colors
whose router registers (M131) or queue registers (M134) the program accesses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.geometry import Direction
from onewafer.simulator.fast.kernels.fabric.marks import holds_marked
from onewafer.simulator.fast.machine_code.compilation import kernel, shared
from onewafer.simulator.fast.state import fields as f
from onewafer.simulator.state.statistics import StallReason

if TYPE_CHECKING:
    from onewafer.simulator.fast.state.arrays import Arrays

_RAMP = int(Direction.RAMP)
_NUM_LINKS = 4
_SWITCH = int(StallReason.SWITCH)


@kernel
def settled_ports(s: Arrays, block: int, source: int, route: int, cycle: int) -> int:
    """Return the ports of a settled route for the oldest wavelet of a source.

    0: the wavelet has to go through the switch. The route is a switched one.
    """
    if holds_marked(s, source):
        return 0
    if s.arena[route + f.ROUTE_PORTS] & f.IS_SETTLED == 0:
        settle_route(s, block, route, cycle)
    ports = s.arena[route + f.ROUTE_PORTS]
    return ports & f.ALL_PORTS if ports & f.IS_SETTLED and is_let_in(s, source, ports) else 0


@kernel
def still_waits(s: Arrays, source: int, ports: int) -> bool:
    """Tell whether a wavelet waits for a switch (M97) that has not advanced since."""
    if s.arena[source + f.FIFO_STATE] & f.REASON_MASK != _SWITCH + 1 or ports & f.IS_SETTLED == 0:
        return False
    return not is_let_in(s, source, ports)


@kernel
def is_let_in(s: Arrays, source: int, ports: int) -> bool:
    """Tell whether a settled route accepts wavelets from the port of a source."""
    port = s.fifos[s.arena[source + f.FIFO_ROW], f.FIFOS_PORT]
    return ports >> f.RECEIVE_SHIFT + port & 1 != 0


@shared
def settle_route(s: Arrays, block: int, route: int, cycle: int) -> None:
    """Settle a route by its switch's position, if that is in force at the start of `cycle`."""
    row = s.arena[route + f.ROUTE_SWITCH]
    receive = s.switches[row, f.SWITCH_SETS + 2 * s.switches[row, f.SWITCH_POSITION]]
    if (
        s.arena[block + f.BLOCK_IS_CONTENDED] & (f.HAS_REGISTERS | f.HAS_QUEUES)
        or s.switches[row, f.SWITCH_FILTER] != f.NO_FILTER
        or s.switches[row, f.SWITCH_CHANGED] == cycle
        or s.switches[row, f.SWITCH_IS_TORN]
        or receive < 0
    ):
        return
    transmit = s.switches[row, f.SWITCH_SETS + 2 * s.switches[row, f.SWITCH_POSITION] + 1]
    count, directions = 0, 0
    for direction in range(_RAMP + 1):
        if transmit >> direction & 1 == 0:
            continue
        place = f.SWITCH_CHANNEL if direction == _RAMP else f.SWITCH_BUFFERS + direction
        target = s.switches[row, place]
        if target == 0 or count == _NUM_LINKS:
            return
        s.arena[route + f.ROUTE_TARGETS + count] = target
        directions |= direction << 3 * count
        count += 1
    s.arena[route + f.ROUTE_NUM_TARGETS] = count
    s.arena[route + f.ROUTE_DIRECTIONS] = directions
    ports = transmit | f.IS_SWITCHED | f.IS_SETTLED | receive << f.RECEIVE_SHIFT
    if s.switches[row, f.SWITCH_RAMP_ROUTE] == route:
        ports |= f.RAMP_INPUT
    s.arena[route + f.ROUTE_PORTS] = ports


@kernel
def unsettle_routes(s: Arrays, row: int) -> None:
    """Send all wavelets of a color at a PE through its switch again."""
    for field in (f.SWITCH_LINK_ROUTE, f.SWITCH_RAMP_ROUTE):
        route = s.switches[row, field]
        if route:
            s.arena[route + f.ROUTE_PORTS] = f.IS_SWITCHED
