"""Waits and departures of wavelets at a router, and its links (M50–M55)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.geometry import Direction
from onewafer.simulator.fast.kernels.bookkeeping.agenda import enlist, wake_element
from onewafer.simulator.fast.kernels.fabric.fifo import put
from onewafer.simulator.fast.machine_code.compilation import kernel
from onewafer.simulator.fast.state import fields as f

if TYPE_CHECKING:
    from onewafer.simulator.fast.state.arrays import Arrays

_RAMP = int(Direction.RAMP)


@kernel
def wait(s: Arrays, source: int, cycle: int, reason: int) -> None:
    """Note the stall reason of a source's oldest wavelet from `cycle` on."""
    state = s.arena[source + f.FIFO_STATE]
    if (state & f.REASON_MASK) != reason + 1:
        row = s.arena[source + f.FIFO_ROW]
        count_wait(s, row, state, cycle)
        s.arena[source + f.FIFO_STATE] = state & ~f.REASON_MASK | reason + 1


@kernel
def count_wait(s: Arrays, row: int, state: int, cycle: int) -> None:
    """Count the cycles of a source's wait up to `cycle`, where a new wait begins."""
    if state & f.REASON_MASK:
        waited = cycle - s.fifos[row, f.FIFOS_WAITING_SINCE]
        s.pes[s.fifos[row, f.FIFOS_PE], f.PE_STALLS - 1 + (state & f.REASON_MASK)] += waited
    s.fifos[row, f.FIFOS_WAITING_SINCE] = cycle


@kernel
def send(s: Arrays, buffer: int, arrival: int, word: int) -> None:
    """Put a wavelet into the buffer behind a link (M50)."""
    put(s, buffer, arrival, word)
    announce(s, buffer, arrival)


@kernel
def announce(s: Arrays, buffer: int, arrival: int) -> None:
    """Wake the router at the end of a link for an arrival."""
    owner = s.arena[buffer + f.FIFO_OWNER]
    s.arena[owner + f.BLOCK_ACTIVE] |= 1 << (s.arena[buffer + f.FIFO_SHAPE] & 0xFF)
    wake_other_router(s, owner, arrival)


@kernel
def end_wait(s: Arrays, source: int, cycle: int) -> None:
    """Count the wait of a departing wavelet, and wake the sender that waits for its slot."""
    state = s.arena[source + f.FIFO_STATE]
    row = s.arena[source + f.FIFO_ROW]
    if state & f.REASON_MASK:
        count_wait(s, row, state, cycle)
    s.arena[source + f.FIFO_STATE] = 0
    if state & f.IS_AWAITED == 0:
        return
    if s.fifos[row, f.FIFOS_PORT] == _RAMP:
        wake_element(s, s.arena[source + f.FIFO_OWNER], cycle + 1)
    else:
        known = cycle + s.timing[f.T_CREDIT]
        wake_other_router(s, s.blocks[s.fifos[row, f.FIFOS_SENDER]], known)


@kernel
def wake_other_router(s: Arrays, block: int, cycle: int) -> None:
    """Schedule a visit to the router of another PE in `cycle` or earlier."""
    if cycle < s.arena[block + f.BLOCK_ROUTER_WAKE]:
        s.arena[block + f.BLOCK_ROUTER_WAKE] = cycle
        if cycle < s.arena[block + f.BLOCK_ELEMENT_WAKE]:
            enlist(s, block, cycle)


@kernel
def carry(s: Arrays, link: int, cycle: int) -> None:
    """Account for the departure of a wavelet over a link in `cycle` (M54, M55)."""
    window = s.timing[f.T_WINDOW_WORDS]
    count = s.links[link, f.LINK_WAVELETS]
    s.links[link, f.LINK_WAVELETS] = count + 1
    s.links[link, f.LINK_DEPARTURES + count % window] = cycle
    oldest = s.links[link, f.LINK_DEPARTURES + (count + 1) % window]
    s.links[link, f.LINK_FREE] = max(cycle + 1, oldest + s.timing[f.T_WINDOW_CYCLES])
