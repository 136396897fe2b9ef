"""The loop over windows of cycles: only those in which something can happen.

Nothing that one PE does reaches another within a window (M1, M50, M53: its length is at most
`hop_cycles` and `credit_cycles`). So every PE goes through a whole window at one look, compute
element and router in turn; what they see of each other is stamped with cycles, see `fifo`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.simulator.fast.agenda import NUM_SLOTS, enlist, next_window, wake_element
from onewafer.simulator.fast.compilation import entry, kernel, merged, shared
from onewafer.simulator.fast.data_path import serve
from onewafer.simulator.fast.elements import stream
from onewafer.simulator.fast.epoch import rebase
from onewafer.simulator.fast.fetching import fetch_ahead
from onewafer.simulator.fast.fields import (
    BASE,
    BLOCK_ATTENTION,
    BLOCK_ELEMENT_WAKE,
    BLOCK_LONE,
    BLOCK_PE,
    BLOCK_ROUTER_WAKE,
    BLOCK_SLOTS,
    BUDGET,
    FAILURE,
    FAILURE_CYCLE,
    FAILURE_PE,
    FAR,
    FAULT,
    FAULT_CYCLE,
    FAULT_PE,
    IS_RECORDING,
    LAST_END,
    NEVER,
    NO_FAULT,
    NONE,
    NOW,
    NUM_FAULT_FIELDS,
    REBASE_AT,
    T_WINDOW_SHIFT,
)
from onewafer.simulator.fast.main_thread import attend
from onewafer.simulator.fast.native import opened
from onewafer.simulator.fast.recording import has_room_for_events
from onewafer.simulator.fast.router import route_wavelets
from onewafer.simulator.fast.staging import settle

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from onewafer.simulator.fast.arrays import Arrays
    from onewafer.simulator.fast.native import Bound

QUIESCENT, LIMIT, FAULTED, PAUSED, EVENTS_FULL = range(5)
"""Why `run_cycles` returned."""


@kernel
def visit(s: Arrays, block: int, start: int, end: int, until: int) -> None:
    """Bring a PE from cycle `start` to `end`.

    What nothing can disturb goes ahead, to before `until`; but not while events are recorded, so
    that their buffer need not be larger.
    """
    horizon = end if s.clock[IS_RECORDING] else min(until, FAR)
    while True:
        # To begin what is due only later (the elements of wavelets that a router just delivered)
        # saves looks, but was measured to be slower: bunches get smaller.
        wake = min(s.arena[block + BLOCK_ELEMENT_WAKE], s.arena[block + BLOCK_ROUTER_WAKE])
        if wake >= end:
            break
        cycle = max(wake, start)
        if s.arena[block + BLOCK_ELEMENT_WAKE] <= cycle:
            s.arena[block + BLOCK_ELEMENT_WAKE] = FAR
            tick(s, block, cycle, horizon, until)
        if s.arena[block + BLOCK_ROUTER_WAKE] <= cycle:
            s.arena[block + BLOCK_ROUTER_WAKE] = FAR
            route_wavelets(s, block, cycle, horizon)
    if wake < FAR:
        enlist(s, block, wake)


@kernel
def tick(s: Arrays, block: int, cycle: int, horizon: int, until: int) -> None:
    """Let a compute element act in `cycle`, unless its PE is the one that failed."""
    if s.clock[FAILURE] and s.arena[block + BLOCK_PE] == s.clock[FAILURE_PE]:
        return
    if s.arena[block + BLOCK_ATTENTION] <= cycle:
        attend(s, block, cycle, until)
    else:
        wake_element(s, block, s.arena[block + BLOCK_ATTENTION])
    if not s.clock[FAULT]:
        lone = s.arena[block + BLOCK_LONE]
        if lone:
            stream(s, block, lone, cycle, horizon)
        else:
            serve(s, block, cycle)
    if s.clock[FAULT]:
        keep_earliest_fault(s)


@shared
def keep_earliest_fault(s: Arrays) -> None:
    """Make a fault the failure of the run, unless one of an earlier cycle or PE is known (M2)."""
    cycle, pe = s.clock[FAULT_CYCLE], s.clock[FAULT_PE]
    known = s.clock[FAILURE_CYCLE]
    if not s.clock[FAILURE] or cycle < known or (cycle == known and pe < s.clock[FAILURE_PE]):
        for i in range(NUM_FAULT_FIELDS):
            s.clock[FAILURE + i] = s.clock[FAULT + i]
    s.clock[FAULT] = NO_FAULT
    s.clock[FAULT_PE] = NONE


@merged
def visit_all(s: Arrays, slot: int, start: int, end: int, until: int) -> None:
    """Bring every PE of a list to `end`; what is left to do in this window stays in the list."""
    count = s.wheel_counts[slot]
    for i in range(count):
        fetch_ahead(s, slot, i, count, end)
        block = s.wheel[slot, i]
        s.arena[block + BLOCK_SLOTS] &= ~(1 << slot)
        if s.clock[FAILURE]:
            until = min(until, s.clock[FAILURE_CYCLE] + 1)
            end = min(end, until)
        visit(s, block, start, end, until)
    left = s.wheel_counts[slot] - count
    for i in range(left):
        s.wheel[slot, i] = s.wheel[slot, count + i]
    s.wheel_counts[slot] = left
    s.clock[NOW] = end


@entry
def run_cycles(bound: Bound, until: int, budget: int) -> int:
    """Go on to before cycle `until`, or until about `budget` PEs or instructions."""
    s = opened(bound)
    shift = s.timing[T_WINDOW_SHIFT]
    s.clock[BUDGET] = budget
    while s.clock[BUDGET] > 0:
        if s.clock[NOW] >= s.clock[REBASE_AT]:
            rebase(s)
        limit = until - s.clock[BASE]
        start = next_window(s, limit)
        if s.clock[FAILURE] and start > s.clock[FAILURE_CYCLE]:
            return FAULTED
        if start == NEVER:
            s.clock[NOW] = min(s.clock[NOW], s.clock[LAST_END])
            return QUIESCENT
        if start >= limit:
            return LIMIT
        end = min((start >> shift) + 1 << shift, limit)
        slot = (start >> shift) & (NUM_SLOTS - 1)
        count = s.wheel_counts[slot]
        if not has_room_for_events(s, count << shift):
            return EVENTS_FULL
        visit_all(s, slot, start, end, limit)
        s.clock[BUDGET] -= count
    return PAUSED


@entry
def wake_routers(bound: Bound, pes: NDArray[np.int64], cycle: int) -> None:
    """Look at the routers of some PEs in `cycle`."""
    s = opened(bound)
    at = max(cycle - s.clock[BASE], s.clock[NOW])
    for i in range(len(pes)):
        block = s.blocks[pes[i]]
        s.arena[block + BLOCK_ROUTER_WAKE] = min(at, s.arena[block + BLOCK_ROUTER_WAKE])
        enlist(s, block, at)


@entry
def wake_elements(bound: Bound, pes: NDArray[np.int64], cycle: int) -> None:
    """Look at the main threads of some PEs in `cycle`."""
    s = opened(bound)
    at = max(cycle - s.clock[BASE], s.clock[NOW])
    for i in range(len(pes)):
        block = s.blocks[pes[i]]
        s.arena[block + BLOCK_ATTENTION] = min(at, s.arena[block + BLOCK_ATTENTION])
        s.arena[block + BLOCK_ELEMENT_WAKE] = min(at, s.arena[block + BLOCK_ELEMENT_WAKE])
        enlist(s, block, at)


@entry
def settle_elements(bound: Bound, pes: NDArray[np.int64]) -> None:
    """Let the SRAM of some PEs be what their programs have made of it."""
    s = opened(bound)
    for i in range(len(pes)):
        settle(s, s.blocks[pes[i]])
