"""Waiting for a router, leaving it, and the links to the next one (M50–M55)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.geometry import Direction
from onewafer.simulator.fast.agenda import enlist, wake_element
from onewafer.simulator.fast.compilation import kernel
from onewafer.simulator.fast.fields import (
    BLOCK_ACTIVE,
    BLOCK_ELEMENT_WAKE,
    BLOCK_ROUTER_WAKE,
    FIFO_OWNER,
    FIFO_ROW,
    FIFO_SHAPE,
    FIFO_STATE,
    FIFOS_PE,
    FIFOS_PORT,
    FIFOS_SENDER,
    FIFOS_WAITING_SINCE,
    IS_AWAITED,
    LINK_DEPARTURES,
    LINK_FREE,
    LINK_WAVELETS,
    PE_STALLS,
    REASON_MASK,
    T_CREDIT,
    T_WINDOW_CYCLES,
    T_WINDOW_WORDS,
)
from onewafer.simulator.fast.fifo import put

if TYPE_CHECKING:
    from onewafer.simulator.fast.arrays import Arrays

_RAMP = int(Direction.RAMP)


@kernel
def wait(s: Arrays, source: int, cycle: int, reason: int) -> None:
    """Note what the oldest wavelet of a source waits for from `cycle` on."""
    state = s.arena[source + FIFO_STATE]
    if (state & REASON_MASK) != reason + 1:
        row = s.arena[source + FIFO_ROW]
        count_wait(s, row, state, cycle)
        s.arena[source + FIFO_STATE] = state & ~REASON_MASK | reason + 1


@kernel
def count_wait(s: Arrays, row: int, state: int, cycle: int) -> None:
    """Count the cycles that a source has waited up to `cycle`; another wait begins."""
    if state & REASON_MASK:
        waited = cycle - s.fifos[row, FIFOS_WAITING_SINCE]
        s.pes[s.fifos[row, FIFOS_PE], PE_STALLS - 1 + (state & REASON_MASK)] += waited
    s.fifos[row, FIFOS_WAITING_SINCE] = cycle


@kernel
def send(s: Arrays, buffer: int, arrival: int, word: int) -> None:
    """Put a wavelet into the buffer behind a link (M50)."""
    put(s, buffer, arrival, word)
    announce(s, buffer, arrival)


@kernel
def announce(s: Arrays, buffer: int, arrival: int) -> None:
    """Let the router behind a link know that something arrives."""
    owner = s.arena[buffer + FIFO_OWNER]
    s.arena[owner + BLOCK_ACTIVE] |= 1 << (s.arena[buffer + FIFO_SHAPE] & 0xFF)
    wake_other_router(s, owner, arrival)


@kernel
def end_wait(s: Arrays, source: int, cycle: int) -> None:
    """Count how long a wavelet has waited that leaves, and wake who waits for its place."""
    state = s.arena[source + FIFO_STATE]
    row = s.arena[source + FIFO_ROW]
    if state & REASON_MASK:
        count_wait(s, row, state, cycle)
    s.arena[source + FIFO_STATE] = 0
    if state & IS_AWAITED == 0:
        return
    if s.fifos[row, FIFOS_PORT] == _RAMP:
        wake_element(s, s.arena[source + FIFO_OWNER], cycle + 1)
    else:
        known = cycle + s.timing[T_CREDIT]
        wake_other_router(s, s.blocks[s.fifos[row, FIFOS_SENDER]], known)


@kernel
def wake_other_router(s: Arrays, block: int, cycle: int) -> None:
    """Look at the router of another PE in `cycle`, or before."""
    if cycle < s.arena[block + BLOCK_ROUTER_WAKE]:
        s.arena[block + BLOCK_ROUTER_WAKE] = cycle
        if cycle < s.arena[block + BLOCK_ELEMENT_WAKE]:
            enlist(s, block, cycle)


@kernel
def carry(s: Arrays, link: int, cycle: int) -> None:
    """Let a link take a wavelet that leaves in `cycle` (M54, M55)."""
    window = s.timing[T_WINDOW_WORDS]
    count = s.links[link, LINK_WAVELETS]
    s.links[link, LINK_WAVELETS] = count + 1
    s.links[link, LINK_DEPARTURES + count % window] = cycle
    oldest = s.links[link, LINK_DEPARTURES + (count + 1) % window]
    s.links[link, LINK_FREE] = max(cycle + 1, oldest + s.timing[T_WINDOW_CYCLES])
