"""Routers and links: rules M40–M42 and M50–M57.

`decide` reads the state of the start of the cycle and lists the moves; `commit` applies one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.geometry import Direction
from onewafer.simulator.fast.agenda import note, schedule_element, schedule_router
from onewafer.simulator.fast.compilation import kernel
from onewafer.simulator.fast.fields import (
    ANY_COLOR,
    CHANNEL_CAPACITY,
    CHANNEL_COUNT,
    CHANNEL_HEAD,
    CHANNEL_IS_AWAITED,
    CHANNEL_PE,
    CHANNEL_RING,
    LINK_DEPARTURES,
    LINK_FREE,
    LINK_WAVELETS,
    NEVER,
    NONE,
    NUM_MOVES,
    PE_ACTIVE,
    PE_NUM_ACTIVE,
    PE_STALLS,
    PE_TO_RAMP,
    RING_COLOR,
    RING_READY,
    RING_RELEASE,
    RING_WORD,
    ROUTE_CHANNEL,
    ROUTE_IS_DEAD,
    ROUTE_RECEIVE,
    ROUTE_TARGETS,
    ROUTE_TRANSMIT,
    SOURCE_CAPACITY,
    SOURCE_COUNT,
    SOURCE_COUNTED_TO,
    SOURCE_HEAD,
    SOURCE_IS_AWAITED,
    SOURCE_LAST_MOVE,
    SOURCE_NUM_RELEASES,
    SOURCE_NUMBER,
    SOURCE_PE,
    SOURCE_PORT,
    SOURCE_POSITION,
    SOURCE_REASON,
    SOURCE_RELEASE_HEAD,
    SOURCE_RING,
    SOURCE_ROUTE,
    SOURCE_SENDER,
    SOURCE_USED,
    SOURCE_WAITING_SINCE,
    T_CREDIT,
    T_HOP,
    T_RAMP,
    T_WINDOW_CYCLES,
    T_WINDOW_WORDS,
)
from onewafer.simulator.fast.recording import record
from onewafer.simulator.statistics import StallReason
from onewafer.trace import EventKind

if TYPE_CHECKING:
    from onewafer.simulator.fast.arrays import Arrays

_NUM_LINKS = 4
_RAMP = int(Direction.RAMP)
_RAMP_INPUT = 1 << 5
"""Bit of the ramp's way in, beside the bits of the five output ports."""
_LINK_BUSY = int(StallReason.LINK_BUSY)
_NO_CREDIT = int(StallReason.NO_CREDIT)
_NO_ROUTE = int(StallReason.NO_ROUTE)
_HOP = int(EventKind.HOP)
_RAMP_ARRIVAL = int(EventKind.RAMP_ARRIVAL)


@kernel
def push(s: Arrays, source: int, ready: int, color: int, word: int) -> None:
    """Let a wavelet wait in a source, routable from cycle `ready`."""
    count = s.sources[source, SOURCE_COUNT]
    if count == 0:
        pe = s.sources[source, SOURCE_PE]
        position = s.pes[pe, PE_NUM_ACTIVE]
        s.active[s.pes[pe, PE_ACTIVE] + position] = source
        s.sources[source, SOURCE_POSITION] = position
        s.pes[pe, PE_NUM_ACTIVE] = position + 1
    place = s.sources[source, SOURCE_HEAD] + count
    if place >= s.sources[source, SOURCE_CAPACITY]:
        place -= s.sources[source, SOURCE_CAPACITY]
    row = s.sources[source, SOURCE_RING] + place
    s.rings[row, RING_READY] = ready
    s.rings[row, RING_WORD] = word
    s.rings[row, RING_COLOR] = color
    s.sources[source, SOURCE_COUNT] = count + 1


@kernel
def deactivate(s: Arrays, source: int) -> None:
    """Take an empty source off its router's list."""
    pe = s.sources[source, SOURCE_PE]
    last_position = s.pes[pe, PE_NUM_ACTIVE] - 1
    position = s.sources[source, SOURCE_POSITION]
    last = s.active[s.pes[pe, PE_ACTIVE] + last_position]
    s.active[s.pes[pe, PE_ACTIVE] + position] = last
    s.sources[last, SOURCE_POSITION] = position
    s.pes[pe, PE_NUM_ACTIVE] = last_position


@kernel
def head_row(s: Arrays, source: int) -> int:
    """Return the ring row of the oldest wavelet."""
    return s.sources[source, SOURCE_RING] + s.sources[source, SOURCE_HEAD]


@kernel
def is_served_before(s: Arrays, source: int, other: int) -> bool:
    """Tell whether one waiting source goes before another (M54)."""
    if s.sources[source, SOURCE_LAST_MOVE] != s.sources[other, SOURCE_LAST_MOVE]:
        return s.sources[source, SOURCE_LAST_MOVE] < s.sources[other, SOURCE_LAST_MOVE]
    color = s.rings[head_row(s, source), RING_COLOR]
    other_color = s.rings[head_row(s, other), RING_COLOR]
    if color != other_color:
        return color < other_color
    if s.sources[source, SOURCE_PORT] != s.sources[other, SOURCE_PORT]:
        return s.sources[source, SOURCE_PORT] < s.sources[other, SOURCE_PORT]
    return s.sources[source, SOURCE_NUMBER] < s.sources[other, SOURCE_NUMBER]


@kernel
def decide(s: Arrays, pe: int, cycle: int) -> None:
    """List the moves of a router in this cycle; wake it when more may be possible."""
    wake = NEVER
    num_candidates = 0
    first = s.pes[pe, PE_ACTIVE]
    for i in range(first, first + s.pes[pe, PE_NUM_ACTIVE]):
        source = s.active[i]
        ready = s.rings[head_row(s, source), RING_READY]
        if ready > cycle:
            wake = min(wake, ready)
            continue
        k = num_candidates
        while k > 0 and is_served_before(s, source, s.candidates[k - 1]):
            s.candidates[k] = s.candidates[k - 1]
            k -= 1
        s.candidates[k] = source
        num_candidates += 1
    taken = 0
    for k in range(num_candidates):
        source = s.candidates[k]
        route = s.sources[source, SOURCE_ROUTE]
        if route == ANY_COLOR:
            route = s.route_of_color[pe, s.rings[head_row(s, source), RING_COLOR]]
        reason, retry = obstacle(s, source, route, taken, cycle)
        if reason != NONE:
            settle(s, pe, source, cycle, reason)
            wake = min(wake, retry)
            continue
        taken |= ports_of(s, source, route)
        move = s.clock[NUM_MOVES]
        s.moves[move, 0] = source
        s.moves[move, 1] = route
        s.clock[NUM_MOVES] = move + 1
    if wake < NEVER:
        schedule_router(s, pe, wake)


@kernel
def ports_of(s: Arrays, source: int, route: int) -> int:
    """Return the bits of the ports that a move needs."""
    ports = s.routes[route, ROUTE_TRANSMIT]
    if s.sources[source, SOURCE_PORT] == _RAMP:
        ports |= _RAMP_INPUT
    return ports


@kernel
def obstacle(s: Arrays, source: int, route: int, taken: int, cycle: int) -> tuple[int, int]:
    """Return what keeps a wavelet (NONE: nothing), and when to look again unless woken."""
    port = s.sources[source, SOURCE_PORT]
    if route < 0 or s.routes[route, ROUTE_IS_DEAD]:
        return _NO_ROUTE, NEVER
    if not s.routes[route, ROUTE_RECEIVE] >> port & 1:
        return _NO_ROUTE, NEVER
    if taken & ports_of(s, source, route):
        return _LINK_BUSY, cycle + 1
    pe = s.sources[source, SOURCE_PE]
    for direction in range(_NUM_LINKS):
        buffer = s.routes[route, ROUTE_TARGETS + direction]
        if buffer < 0:
            continue
        free_at = s.links[_NUM_LINKS * pe + direction, LINK_FREE]
        if free_at > cycle:
            return _LINK_BUSY, free_at
        if not has_room(s, buffer, cycle):
            s.sources[buffer, SOURCE_IS_AWAITED] = 1
            retry = NEVER
            if s.sources[buffer, SOURCE_NUM_RELEASES]:
                retry = s.rings[release_row(s, buffer, 0), RING_RELEASE]
            return _NO_CREDIT, retry
    channel = s.routes[route, ROUTE_CHANNEL]
    if channel >= 0 and s.channels[channel, CHANNEL_COUNT] >= s.channels[channel, CHANNEL_CAPACITY]:
        s.channels[channel, CHANNEL_IS_AWAITED] = 1
        return _NO_CREDIT, NEVER
    return NONE, NEVER


@kernel
def release_row(s: Arrays, buffer: int, k: int) -> int:
    """Return the ring row of the k-th credit that is on its way back."""
    place = s.sources[buffer, SOURCE_RELEASE_HEAD] + k
    if place >= s.sources[buffer, SOURCE_CAPACITY]:
        place -= s.sources[buffer, SOURCE_CAPACITY]
    return s.sources[buffer, SOURCE_RING] + place


@kernel
def has_room(s: Arrays, buffer: int, cycle: int) -> bool:
    """Tell whether the sender knows of a free place (M53)."""
    while (
        s.sources[buffer, SOURCE_NUM_RELEASES]
        and s.rings[release_row(s, buffer, 0), RING_RELEASE] <= cycle
    ):
        head = s.sources[buffer, SOURCE_RELEASE_HEAD] + 1
        s.sources[buffer, SOURCE_RELEASE_HEAD] = (
            0 if head == s.sources[buffer, SOURCE_CAPACITY] else head
        )
        s.sources[buffer, SOURCE_NUM_RELEASES] -= 1
        s.sources[buffer, SOURCE_USED] -= 1
    return s.sources[buffer, SOURCE_USED] < s.sources[buffer, SOURCE_CAPACITY]


@kernel
def settle(s: Arrays, pe: int, source: int, cycle: int, reason: int) -> None:
    """Count the cycles a source has waited, and note what it waits for from `cycle` on."""
    before = s.sources[source, SOURCE_REASON]
    if before != NONE:
        s.pes[pe, PE_STALLS + before] += cycle - s.sources[source, SOURCE_COUNTED_TO]
    if reason != before:
        s.sources[source, SOURCE_WAITING_SINCE] = cycle
    s.sources[source, SOURCE_REASON] = reason
    s.sources[source, SOURCE_COUNTED_TO] = cycle


@kernel
def commit(s: Arrays, source: int, route: int, cycle: int) -> None:
    """Move the oldest wavelet of a source along its route."""
    pe = s.sources[source, SOURCE_PE]
    row = head_row(s, source)
    word = s.rings[row, RING_WORD]
    color = s.rings[row, RING_COLOR]
    head = s.sources[source, SOURCE_HEAD] + 1
    s.sources[source, SOURCE_HEAD] = 0 if head == s.sources[source, SOURCE_CAPACITY] else head
    s.sources[source, SOURCE_COUNT] -= 1
    settle(s, pe, source, cycle, NONE)
    s.sources[source, SOURCE_LAST_MOVE] = cycle
    give_place_back(s, source, cycle)
    if s.sources[source, SOURCE_COUNT]:
        schedule_router(s, pe, max(cycle + 1, s.rings[head_row(s, source), RING_READY]))
    else:
        deactivate(s, source)
    arrival = cycle + s.timing[T_HOP]
    for direction in range(_NUM_LINKS):
        buffer = s.routes[route, ROUTE_TARGETS + direction]
        if buffer >= 0:
            carry(s, _NUM_LINKS * pe + direction, cycle)
            s.sources[buffer, SOURCE_USED] += 1
            push(s, buffer, arrival, color, word)
            schedule_router(s, s.sources[buffer, SOURCE_PE], arrival)
            record(s, cycle, pe, _HOP, color, direction)
    channel = s.routes[route, ROUTE_CHANNEL]
    if channel >= 0:
        s.pes[pe, PE_TO_RAMP] += 1
        deliver(s, channel, cycle + s.timing[T_RAMP], word)
        record(s, cycle, pe, _RAMP_ARRIVAL, color, word)
    note(s, cycle + 1)


@kernel
def give_place_back(s: Arrays, source: int, cycle: int) -> None:
    """Tell the sender of a wavelet, or the compute element, that its place is free again."""
    if s.sources[source, SOURCE_PORT] != _RAMP:
        known = cycle + s.timing[T_CREDIT]
        last = s.sources[source, SOURCE_NUM_RELEASES]
        s.rings[release_row(s, source, last), RING_RELEASE] = known
        s.sources[source, SOURCE_NUM_RELEASES] = last + 1
        if s.sources[source, SOURCE_IS_AWAITED]:
            s.sources[source, SOURCE_IS_AWAITED] = 0
            schedule_router(s, s.sources[source, SOURCE_SENDER], known)
    elif s.sources[source, SOURCE_IS_AWAITED]:
        s.sources[source, SOURCE_IS_AWAITED] = 0
        schedule_element(s, s.sources[source, SOURCE_PE], cycle + 1)


@kernel
def carry(s: Arrays, link: int, cycle: int) -> None:
    """Let a link take a wavelet that leaves in `cycle` (M54, M55)."""
    window = s.timing[T_WINDOW_WORDS]
    count = s.links[link, LINK_WAVELETS]
    s.links[link, LINK_WAVELETS] = count + 1
    s.links[link, LINK_DEPARTURES + count % window] = cycle
    oldest = s.links[link, LINK_DEPARTURES + (count + 1) % window]
    s.links[link, LINK_FREE] = max(cycle + 1, oldest + s.timing[T_WINDOW_CYCLES])


@kernel
def deliver(s: Arrays, channel: int, readable: int, word: int) -> None:
    """Hand a wavelet to the ramp (M40)."""
    place = s.channels[channel, CHANNEL_HEAD] + s.channels[channel, CHANNEL_COUNT]
    if place >= s.channels[channel, CHANNEL_CAPACITY]:
        place -= s.channels[channel, CHANNEL_CAPACITY]
    row = s.channels[channel, CHANNEL_RING] + place
    s.rings[row, RING_READY] = readable
    s.rings[row, RING_WORD] = word
    s.channels[channel, CHANNEL_COUNT] += 1
    schedule_element(s, s.channels[channel, CHANNEL_PE], readable)
