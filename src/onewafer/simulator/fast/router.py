"""Routers and links: rules M40–M42 and M50–M57.

A router serves its sources (buffers behind links, output queues, the host's queue), and every
wavelet that can move does, at once. In most PEs no two sources need one port; they are served
as they come. Elsewhere (`BLOCK_IS_CONTENDED`) they are put in the order of M54 first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.geometry import Direction
from onewafer.simulator.fast.agenda import (
    note,
    wake_attention,
    wake_element,
    wake_router,
)
from onewafer.simulator.fast.compilation import kernel, shared, trailing_zeros
from onewafer.simulator.fast.fields import (
    ANY_COLOR,
    BLOCK_ACTIVE,
    BLOCK_IS_CONTENDED,
    BLOCK_NUM_SOURCES,
    BLOCK_PE,
    BLOCK_SOURCES,
    COLOR_MASK,
    FAR,
    FIFO_HEAD,
    FIFO_LAST_MOVE,
    FIFO_READER,
    FIFO_ROUTE,
    FIFO_ROW,
    FIFO_SHAPE,
    FIFO_STARTS_TASK,
    FIFO_STATE,
    FIFO_TAIL,
    FIFOS_COLOR,
    FIFOS_NUMBER,
    FIFOS_PORT,
    IS_AWAITED,
    IS_RECORDING,
    IS_SWITCHED,
    LINK_FREE,
    NO_ROUTE,
    NONE,
    ROUTE_DIRECTIONS,
    ROUTE_NUM_TARGETS,
    ROUTE_PORTS,
    ROUTE_TARGETS,
    SOURCE_GROUPS,
    T_CREDIT,
    T_HAS_LINK_WINDOW,
    T_HOP,
    T_RAMP,
)
from onewafer.simulator.fast.fifo import put, ready_cycle, room_cycle, tag_place, take
from onewafer.simulator.fast.links import carry, end_wait, send, wait
from onewafer.simulator.fast.recording import record
from onewafer.simulator.fast.switching import serve_switched
from onewafer.simulator.statistics import StallReason
from onewafer.trace import EventKind

if TYPE_CHECKING:
    from onewafer.simulator.fast.arrays import Arrays

_RAMP = int(Direction.RAMP)
_LINK_BUSY = int(StallReason.LINK_BUSY)
_NO_CREDIT = int(StallReason.NO_CREDIT)
_NO_ROUTE = int(StallReason.NO_ROUTE)
_HOP = int(EventKind.HOP)
_RAMP_ARRIVAL = int(EventKind.RAMP_ARRIVAL)


@kernel
def route_wavelets(s: Arrays, block: int, cycle: int) -> None:
    """Move what can move in this cycle; ask to be looked at when more may be possible."""
    if s.arena[block + BLOCK_IS_CONTENDED]:
        route_in_order(s, block, cycle)
        return
    num_sources = s.arena[block + BLOCK_NUM_SOURCES]
    groups = s.arena[block + BLOCK_ACTIVE]
    while groups:
        i = trailing_zeros(groups)
        groups &= groups - 1
        while i < num_sources:
            source = s.arena[block + BLOCK_SOURCES + i]
            serve_source(s, block, source, 0, cycle)
            i += SOURCE_GROUPS


@shared
def route_in_order(s: Arrays, block: int, cycle: int) -> None:
    """Serve the sources longest unserved first, each with the ports that are left (M54)."""
    num_candidates = 0
    for i in range(s.arena[block + BLOCK_NUM_SOURCES]):
        source = s.arena[block + BLOCK_SOURCES + i]
        ready = ready_cycle(s, source)
        if ready > cycle:
            wake_router(s, block, ready)
            continue
        k = num_candidates
        while k > 0 and is_served_before(s, source, s.candidates[k - 1]):
            s.candidates[k] = s.candidates[k - 1]
            k -= 1
        s.candidates[k] = source
        num_candidates += 1
    taken = 0
    for k in range(num_candidates):
        taken |= serve_source(s, block, s.candidates[k], taken, cycle)


@kernel
def is_served_before(s: Arrays, source: int, other: int) -> bool:
    """Tell whether one waiting source goes before another (M54)."""
    if s.arena[source + FIFO_LAST_MOVE] != s.arena[other + FIFO_LAST_MOVE]:
        return s.arena[source + FIFO_LAST_MOVE] < s.arena[other + FIFO_LAST_MOVE]
    row, other_row = s.arena[source + FIFO_ROW], s.arena[other + FIFO_ROW]
    color, other_color = color_of(s, source, row), color_of(s, other, other_row)
    if color != other_color:
        return color < other_color
    if s.fifos[row, FIFOS_PORT] != s.fifos[other_row, FIFOS_PORT]:
        return s.fifos[row, FIFOS_PORT] < s.fifos[other_row, FIFOS_PORT]
    return s.fifos[row, FIFOS_NUMBER] < s.fifos[other_row, FIFOS_NUMBER]


@kernel
def color_of(s: Arrays, source: int, row: int) -> int:
    """Return the color of the oldest wavelet of a source."""
    color = s.fifos[row, FIFOS_COLOR]
    return tag_of_head(s, source) if color == NONE else color


@kernel
def tag_of_head(s: Arrays, source: int) -> int:
    """Return the color of the oldest wavelet of a source with any color."""
    return s.arena[tag_place(s, source, s.arena[source + FIFO_HEAD])] & COLOR_MASK


@kernel
def serve_source(s: Arrays, block: int, source: int, taken: int, cycle: int) -> int:
    """Move the oldest wavelet of a source if it can move; return the ports it took."""
    ready = ready_cycle(s, source)
    if ready > cycle:
        wake_router(s, block, ready)
        return 0
    route = s.arena[source + FIFO_ROUTE]
    if route == ANY_COLOR:
        # The first row serves all if nobody needs the others.
        route = s.ramp_routes[s.arena[block + BLOCK_PE], tag_of_head(s, source)]
    if route == NO_ROUTE:
        wait(s, source, cycle, _NO_ROUTE)
        return 0
    ports = s.arena[route + ROUTE_PORTS]
    if ports & IS_SWITCHED:
        switch = s.arena[route + ROUTE_TARGETS]
        color = color_of(s, source, s.arena[source + FIFO_ROW])
        return serve_switched(s, block, source, switch, color, taken, cycle)
    if taken & ports:
        wait(s, source, cycle, _LINK_BUSY)
        wake_router(s, block, cycle + 1)
        return 0
    if is_held_up(s, block, source, route, cycle):
        return 0
    move(s, block, source, route, cycle)
    return ports


@kernel
def is_held_up(s: Arrays, block: int, source: int, route: int, cycle: int) -> bool:
    """Tell whether some target cannot take a wavelet in this cycle; then note the wait (M51)."""
    ports = s.arena[route + ROUTE_PORTS]
    num_targets = s.arena[route + ROUTE_NUM_TARGETS]
    for i in range(num_targets):
        target = s.arena[route + ROUTE_TARGETS + i]
        is_channel = i == num_targets - 1 and ports >> _RAMP & 1 != 0
        if not is_channel and s.timing[T_HAS_LINK_WINDOW]:
            free = s.links[link_of(s, block, route, i), LINK_FREE]
            if free > cycle:
                wait(s, source, cycle, _LINK_BUSY)
                wake_router(s, block, free)
                return True
        room = room_cycle(s, target, 1 if is_channel else s.timing[T_CREDIT])
        if room > cycle:
            s.arena[target + FIFO_STATE] |= IS_AWAITED
            wait(s, source, cycle, _NO_CREDIT)
            wake_router(s, block, room)
            return True
    return False


@kernel
def link_of(s: Arrays, block: int, route: int, i: int) -> int:
    """Return the row of the link to target i of a route."""
    return 4 * s.arena[block + BLOCK_PE] + direction_of(s, route, i)


@kernel
def direction_of(s: Arrays, route: int, i: int) -> int:
    """Return the direction of target i of a route."""
    return s.arena[route + ROUTE_DIRECTIONS] >> 3 * i & 7


@kernel
def move(s: Arrays, block: int, source: int, route: int, cycle: int) -> None:
    """Move the oldest wavelet of a source along its route."""
    color = NONE
    if s.clock[IS_RECORDING]:
        color = color_of(s, source, s.arena[source + FIFO_ROW])
    word = take(s, source, cycle)
    s.arena[source + FIFO_LAST_MOVE] = cycle
    if s.arena[source + FIFO_STATE]:
        end_wait(s, source, cycle)
    ready = ready_cycle(s, source)
    if ready < FAR:
        wake_router(s, block, max(cycle + 1, ready))
    elif s.arena[block + BLOCK_NUM_SOURCES] <= SOURCE_GROUPS:
        s.arena[block + BLOCK_ACTIVE] &= ~(1 << (s.arena[source + FIFO_SHAPE] & 0xFF))
    num_links = s.arena[route + ROUTE_NUM_TARGETS]
    if s.arena[route + ROUTE_PORTS] >> _RAMP & 1:
        num_links -= 1
        channel = s.arena[route + ROUTE_TARGETS + num_links]
        deliver(s, block, channel, cycle, word)
        record(s, cycle, block, _RAMP_ARRIVAL, color, word)
    arrival = cycle + s.timing[T_HOP]
    for i in range(num_links):
        send(s, s.arena[route + ROUTE_TARGETS + i], arrival, word)
        if s.timing[T_HAS_LINK_WINDOW]:
            carry(s, link_of(s, block, route, i), cycle)
        record(s, cycle, block, _HOP, color, direction_of(s, route, i))
    note(s, cycle + 1)


@kernel
def deliver(s: Arrays, block: int, channel: int, cycle: int, word: int) -> None:
    """Hand a wavelet to the ramp (M40); the picker may wait for it."""
    readable = cycle + s.timing[T_RAMP]
    put(s, channel, readable, word)
    wake_element(s, block, readable)
    if s.arena[channel + FIFO_STARTS_TASK] and s.arena[channel + FIFO_READER] == 0:
        wake_attention(s, block, readable)


@kernel
def push(s: Arrays, block: int, source: int, ready: int, color: int, word: int) -> None:
    """Let the compute element put a wavelet into an output queue."""
    if s.arena[source + FIFO_ROUTE] == ANY_COLOR:
        s.arena[tag_place(s, source, s.arena[source + FIFO_TAIL])] = color
    put(s, source, ready, word)
    s.arena[block + BLOCK_ACTIVE] |= 1 << (s.arena[source + FIFO_SHAPE] & 0xFF)
    wake_router(s, block, ready)
