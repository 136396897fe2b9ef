"""Routers and links: rules M40–M42 and M50–M57.

A router serves its sources: buffers behind links, output queues, the host's queue. In most PEs no
two sources need one port; then each source is independent, and runs ahead of the clock as long as
the arrivals of its wavelets and the free cycles of slots are known. Elsewhere
(`BLOCK_IS_CONTENDED`) the sources are served cycle by cycle, in the order of M54.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.geometry import Direction
from onewafer.simulator.fast.kernels.bookkeeping.agenda import (
    note,
    wake_attention,
    wake_element,
    wake_router,
)
from onewafer.simulator.fast.kernels.bookkeeping.recording import record
from onewafer.simulator.fast.kernels.fabric.fifo import (
    WORD,
    capacity_of,
    head_of,
    last_place,
    place_of,
    put,
    ready_cycle,
    room_cycle,
    tag_place,
    take,
)
from onewafer.simulator.fast.kernels.fabric.links import announce, carry, end_wait, send, wait
from onewafer.simulator.fast.kernels.fabric.registers import begin_cycle
from onewafer.simulator.fast.kernels.fabric.switch_routes import settled_ports, still_waits
from onewafer.simulator.fast.kernels.fabric.switching import serve_switched
from onewafer.simulator.fast.machine_code.compilation import kernel, shared
from onewafer.simulator.fast.machine_code.native import trailing_zeros
from onewafer.simulator.fast.state import fields as f
from onewafer.simulator.fast.state.arrays import int64
from onewafer.simulator.state.statistics import StallReason
from onewafer.trace import EventKind

if TYPE_CHECKING:
    from onewafer.simulator.fast.state.arrays import Arrays

_RAMP = int(Direction.RAMP)
_LINK_BUSY = int(StallReason.LINK_BUSY)
_NO_CREDIT = int(StallReason.NO_CREDIT)
_NO_ROUTE = int(StallReason.NO_ROUTE)
_HOP = int(EventKind.HOP)
_RAMP_ARRIVAL = int(EventKind.RAMP_ARRIVAL)
_MOST_TARGETS = 2


@kernel
def route_wavelets(s: Arrays, block: int, cycle: int, horizon: int) -> None:
    """Move all wavelets that can move from `cycle` on, and schedule the next visit.

    Sources that share no port run ahead of the clock, to before `horizon`.
    """
    if s.arena[block + f.BLOCK_IS_CONTENDED]:
        route_in_order(s, block, cycle)
        return
    num_sources = s.arena[block + f.BLOCK_NUM_SOURCES]
    groups = s.arena[block + f.BLOCK_ACTIVE]
    while groups:
        i = trailing_zeros(groups)
        groups &= groups - 1
        while i < num_sources:
            stream_source(s, block, s.arena[block + f.BLOCK_SOURCES + i], cycle, horizon)
            i += f.SOURCE_GROUPS


@shared
def route_in_order(s: Arrays, block: int, cycle: int) -> None:
    """Serve the sources longest unserved first, each with the ports that are left (M54)."""
    if s.arena[block + f.BLOCK_IS_CONTENDED] & f.HAS_REGISTERS:
        begin_cycle(s, block, cycle)
    num_candidates = 0
    for i in range(s.arena[block + f.BLOCK_NUM_SOURCES]):
        source = s.arena[block + f.BLOCK_SOURCES + i]
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
        source = s.candidates[k]
        route = route_of(s, block, source)
        ports = 0 if route == f.NO_ROUTE else s.arena[route + f.ROUTE_PORTS]
        if ports & f.IS_SWITCHED:
            if still_waits(s, source, ports):
                continue
            ports = settled_ports(s, block, source, route, cycle)
            if ports == 0:
                color = color_of(s, source, s.arena[source + f.FIFO_ROW])
                taken |= serve_switched(s, block, source, route, color, taken, cycle)
                continue
        if taken & ports:
            wait(s, source, cycle, _LINK_BUSY)
            wake_router(s, block, cycle + 1)
            continue
        stream_source(s, block, source, cycle, cycle + 1)
        if s.arena[source + f.FIFO_LAST_MOVE] == cycle:
            taken |= ports
    if taken and s.timing[f.T_HAS_LINK_WINDOW]:
        # A link that is busy for longer now may be what the others wait for from the next cycle on.
        wake_router(s, block, cycle + 1)


@kernel
def is_served_before(s: Arrays, source: int, other: int) -> bool:
    """Tell whether one waiting source goes before another (M54)."""
    if s.arena[source + f.FIFO_LAST_MOVE] != s.arena[other + f.FIFO_LAST_MOVE]:
        return s.arena[source + f.FIFO_LAST_MOVE] < s.arena[other + f.FIFO_LAST_MOVE]
    row, other_row = s.arena[source + f.FIFO_ROW], s.arena[other + f.FIFO_ROW]
    color, other_color = color_of(s, source, row), color_of(s, other, other_row)
    if color != other_color:
        return color < other_color
    if s.fifos[row, f.FIFOS_PORT] != s.fifos[other_row, f.FIFOS_PORT]:
        return s.fifos[row, f.FIFOS_PORT] < s.fifos[other_row, f.FIFOS_PORT]
    return s.fifos[row, f.FIFOS_NUMBER] < s.fifos[other_row, f.FIFOS_NUMBER]


@kernel
def color_of(s: Arrays, source: int, row: int) -> int:
    """Return the color of the oldest wavelet of a source."""
    color = s.fifos[row, f.FIFOS_COLOR]
    return tag_of_head(s, source) if color == f.NONE else color


@kernel
def tag_of_head(s: Arrays, source: int) -> int:
    """Return the color of the oldest wavelet of a source with any color."""
    return s.arena[tag_place(s, source, s.arena[source + f.FIFO_HEAD])] & f.COLOR_MASK


@kernel
def route_of(s: Arrays, block: int, source: int) -> int:
    """Return the route of the oldest wavelet of a source."""
    route = s.arena[source + f.FIFO_ROUTE]
    if route == f.ANY_COLOR:
        return s.ramp_routes[s.arena[block + f.BLOCK_PE], tag_of_head(s, source)]
    return route


@shared
def stream_source(s: Arrays, block: int, source: int, cycle: int, horizon: int) -> None:
    """Move the wavelets of a source, each as early as possible, from `cycle` to `horizon`.

    No other source needs its ports: a wavelet moves in the first cycle in which it is there and
    all its targets have room (M51).
    """
    while True:
        ready = ready_cycle(s, source)
        if ready == f.FAR:
            note_empty(s, block, source)
            return
        cycle = max(cycle, ready, s.arena[source + f.FIFO_LAST_MOVE] + 1)
        state = s.arena[source + f.FIFO_STATE]
        if state & f.REASON_MASK:
            # What it waits for may begin later: what came before is settled.
            cycle = max(cycle, s.fifos[s.arena[source + f.FIFO_ROW], f.FIFOS_WAITING_SINCE])
        if cycle >= horizon:
            wake_router(s, block, cycle)
            return
        route = route_of(s, block, source)
        if route == f.NO_ROUTE:
            wait(s, source, cycle, _NO_ROUTE)
            return
        may_bunch = is_simple(s, source, route)
        if may_bunch and state == 0 and move_many(s, block, source, route, cycle, horizon):
            continue
        cycle = room_of_route(s, block, source, route, cycle, horizon)
        if cycle >= horizon:
            wake_router(s, block, cycle)
            return
        if may_bunch:
            end_wait(s, source, cycle)
        else:
            move(s, block, source, route, cycle)


@kernel
def note_empty(s: Arrays, block: int, source: int) -> None:
    """Mark a source as inactive until a wavelet arrives, unless another source shares its bit."""
    if s.arena[block + f.BLOCK_NUM_SOURCES] <= f.SOURCE_GROUPS:
        s.arena[block + f.BLOCK_ACTIVE] &= ~(1 << (s.arena[source + f.FIFO_SHAPE] & 0xFF))


@kernel
def is_simple(s: Arrays, source: int, route: int) -> bool:
    """Tell whether wavelets can move in a bunch: one color, at most two targets, unobserved."""
    return (
        s.arena[source + f.FIFO_ROUTE] != f.ANY_COLOR
        and 0 < s.arena[route + f.ROUTE_NUM_TARGETS] <= _MOST_TARGETS
        and not s.timing[f.T_HAS_LINK_WINDOW]
        and not s.clock[f.IS_RECORDING]
    )


@kernel
def move_many(s: Arrays, block: int, source: int, route: int, cycle: int, horizon: int) -> int:
    """Move wavelets from `cycle` on, as long as there is known room; return their number.

    The first wavelet may still have to wait.
    """
    target = s.arena[route + f.ROUTE_TARGETS]
    to_ramp = s.arena[route + f.ROUTE_PORTS] >> _RAMP & 1
    credit, hop = s.timing[f.T_CREDIT], s.timing[f.T_HOP]
    last_credit = 1 if to_ramp else credit
    last_hop = s.timing[f.T_RAMP] if to_ramp else hop
    head = s.arena[source + f.FIFO_HEAD]
    # Two calls: with the number of targets as a constant the loop has half the instructions.
    if s.arena[route + f.ROUTE_NUM_TARGETS] == 1:
        last, last_target = target, 0
        count, waited = move_bunch(
            s, source, target, 0, cycle, horizon, last_credit, last_hop, 0, 0
        )
    else:
        last = s.arena[route + f.ROUTE_TARGETS + 1]
        last_target = target
        count, waited = move_bunch(
            s, source, target, last, cycle, horizon, credit, hop, last_credit, last_hop
        )
    if count == 0:
        return 0
    moved = s.arena[place_of(s, source, head + count - 1)]
    s.arena[source + f.FIFO_LAST_MOVE] = moved
    note(s, moved + 1)
    if waited:
        s.pes[s.arena[block + f.BLOCK_PE], f.PE_STALLS + _NO_CREDIT] += waited
    first = s.arena[place_of(s, source, head)]
    if last_target:
        announce(s, last_target, first + hop)
    if to_ramp:
        expect(s, block, last, first + last_hop)
    else:
        announce(s, last, first + last_hop)
    return count


@kernel
def move_bunch(
    s: Arrays,
    source: int,
    target: int,
    other: int,
    cycle: int,
    horizon: int,
    credit: int,
    hop: int,
    other_credit: int,
    other_hop: int,
) -> tuple[int, int]:
    """Move wavelets to one target or two (0: none); return their number and their wait.

    The cycles of departure are stored in the slots.
    """
    head, last = s.arena[source + f.FIFO_HEAD], last_place(s, source)
    tail, last_target = s.arena[target + f.FIFO_TAIL], last_place(s, target)
    before = tail - capacity_of(s, target)
    most = min(s.arena[source + f.FIFO_TAIL] - head, s.arena[target + f.FIFO_HEAD] - before)
    other_tail, last_other, other_before = 0, 0, 0
    if other:
        other_tail, last_other = s.arena[other + f.FIFO_TAIL], last_place(s, other)
        other_before = other_tail - capacity_of(s, other)
        most = min(most, s.arena[other + f.FIFO_HEAD] - other_before)
    waited = 0
    count = 0
    at = cycle
    while count < most:
        place = source + f.FIFO_RING + 2 * (head + count & last)
        earliest = max(at, s.arena[place])
        free = target + f.FIFO_RING + 2 * (before + count & last_target)
        at = max(earliest, s.arena[free] + credit)
        if other:
            other_free = other + f.FIFO_RING + 2 * (other_before + count & last_other)
            at = max(at, s.arena[other_free] + other_credit)
        if at >= horizon:
            break
        waited += at - earliest
        word = s.arena[place + 1]
        s.arena[place] = at
        to = target + f.FIFO_RING + 2 * (tail + count & last_target)
        s.arena[to] = at + hop
        s.arena[to + 1] = word
        if other:
            to = other + f.FIFO_RING + 2 * (other_tail + count & last_other)
            s.arena[to] = at + other_hop
            s.arena[to + 1] = word
        at += 1
        count += 1
    s.arena[source + f.FIFO_HEAD] = head + count
    s.arena[target + f.FIFO_TAIL] = tail + count
    if other:
        s.arena[other + f.FIFO_TAIL] = other_tail + count
    return count, waited


@kernel
def room_of_route(s: Arrays, block: int, source: int, route: int, cycle: int, horizon: int) -> int:
    """Return the cycle in which all targets have room for a wavelet; FAR: not known yet.

    A free slot stays free until a wavelet of this router takes it, so the wavelet waits for one
    target after the other. Waits that begin at `horizon` or later are not noted, since other events
    may precede; then the cycle of the next visit is returned, at `horizon` or later.
    """
    num_targets = s.arena[route + f.ROUTE_NUM_TARGETS]
    has_ramp = s.arena[route + f.ROUTE_PORTS] >> _RAMP & 1
    for i in range(num_targets):
        target = s.arena[route + f.ROUTE_TARGETS + i]
        is_channel = has_ramp and i == num_targets - 1
        if s.timing[f.T_HAS_LINK_WINDOW] and not is_channel:
            free = s.links[link_of(s, block, route, i), f.LINK_FREE]
            if free > cycle:
                wait(s, source, cycle, _LINK_BUSY)
                if free >= horizon:
                    return free
                cycle = free
        room = room_cycle(s, target, 1 if is_channel else s.timing[f.T_CREDIT])
        if room > cycle:
            wait(s, source, cycle, _NO_CREDIT)
            if room == f.FAR:
                s.arena[target + f.FIFO_STATE] |= f.IS_AWAITED
            if room >= horizon:
                return room
            cycle = room
    return cycle


@kernel
def link_of(s: Arrays, block: int, route: int, i: int) -> int:
    """Return the row of the link to target i of a route."""
    return 4 * s.arena[block + f.BLOCK_PE] + direction_of(s, route, i)


@kernel
def direction_of(s: Arrays, route: int, i: int) -> int:
    """Return the direction of target i of a route."""
    return s.arena[route + f.ROUTE_DIRECTIONS] >> 3 * i & 7


@kernel
def move(s: Arrays, block: int, source: int, route: int, cycle: int) -> None:
    """Move the oldest wavelet of a source along its route."""
    if s.clock[f.IS_RECORDING]:
        record_move(s, block, source, route, cycle)
    word = take(s, source, cycle)
    s.arena[source + f.FIFO_LAST_MOVE] = cycle
    if s.arena[source + f.FIFO_STATE]:
        end_wait(s, source, cycle)
    num_links = s.arena[route + f.ROUTE_NUM_TARGETS]
    if s.arena[route + f.ROUTE_PORTS] >> _RAMP & 1:
        num_links -= 1
        deliver(s, block, s.arena[route + f.ROUTE_TARGETS + num_links], cycle, word)
    arrival = cycle + s.timing[f.T_HOP]
    for i in range(num_links):
        send(s, s.arena[route + f.ROUTE_TARGETS + i], arrival, word)
        if s.timing[f.T_HAS_LINK_WINDOW]:
            carry(s, link_of(s, block, route, i), cycle)
    note(s, cycle + 1)


@shared
def record_move(s: Arrays, block: int, source: int, route: int, cycle: int) -> None:
    """Record the move of a source's oldest wavelet as an event."""
    color = color_of(s, source, s.arena[source + f.FIFO_ROW])
    word = int64(s.arena[head_of(s, source) + 1]) & WORD
    for i in range(s.arena[route + f.ROUTE_NUM_TARGETS]):
        direction = direction_of(s, route, i)
        if direction == _RAMP:
            record(s, cycle, block, _RAMP_ARRIVAL, color, word)
        else:
            record(s, cycle, block, _HOP, color, direction)


@kernel
def deliver(s: Arrays, block: int, channel: int, cycle: int, word: int) -> None:
    """Hand a wavelet to the ramp (M40)."""
    readable = cycle + s.timing[f.T_RAMP]
    put(s, channel, readable, word)
    expect(s, block, channel, readable)


@kernel
def expect(s: Arrays, block: int, channel: int, readable: int) -> None:
    """Wake the compute element for an arriving wavelet; the picker may wait for it."""
    wake_element(s, block, readable)
    if s.arena[channel + f.FIFO_STARTS_TASK] and s.arena[channel + f.FIFO_READER] == 0:
        wake_attention(s, block, readable)
