"""The loop over cycles: only those in which something can happen.

Routers decide, compute elements act on their side of the queues, then the moves are committed (M1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.simulator.fast.agenda import EPOCH_CYCLES, NUM_LISTS, next_cycle, schedule, take
from onewafer.simulator.fast.compilation import entry, kernel
from onewafer.simulator.fast.data_path import serve, settle_path
from onewafer.simulator.fast.fields import (
    BUDGET,
    FAILURE,
    FAILURE_CYCLE,
    FAILURE_PE,
    FAULT,
    FAULT_CYCLE,
    FAULT_PE,
    IDLE,
    NEVER,
    NO_FAULT,
    NONE,
    NOW,
    NUM_FAULT_FIELDS,
    NUM_MOVES,
    PE_LIMIT,
    PE_MAIN,
    PE_NUM_LIVE,
    RUNNING,
    STALLED,
)
from onewafer.simulator.fast.main_thread import retry_issue, run_main
from onewafer.simulator.fast.recording import has_room_for_events
from onewafer.simulator.fast.router import commit, decide
from onewafer.simulator.fast.tasks import pick

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from onewafer.simulator.fast.arrays import Arrays

QUIESCENT, LIMIT, FAULTED, PAUSED, EVENTS_FULL = range(5)
"""Why `run_cycles` returned."""


@kernel
def tick(s: Arrays, pe: int, cycle: int, until: int) -> None:
    """Bring a compute element to `cycle`; its main thread may run ahead to before `until`."""
    settle_path(s, pe, cycle)
    if s.pes[pe, PE_MAIN] == STALLED:
        retry_issue(s, pe, cycle)
    if s.pes[pe, PE_MAIN] == IDLE:
        pick(s, pe, cycle)
    if s.pes[pe, PE_MAIN] == RUNNING:
        s.pes[pe, PE_LIMIT] = cycle if s.pes[pe, PE_NUM_LIVE] else max(cycle, until - 1)
        run_main(s, pe)
        if s.clock[FAULT]:
            return
    serve(s, pe, cycle)


@kernel
def keep_earliest_fault(s: Arrays) -> None:
    """Make a fault the failure of the run, unless one of an earlier cycle or PE is known (M2)."""
    cycle, pe = s.clock[FAULT_CYCLE], s.clock[FAULT_PE]
    known = s.clock[FAILURE_CYCLE]
    if not s.clock[FAILURE] or cycle < known or (cycle == known and pe < s.clock[FAILURE_PE]):
        for i in range(NUM_FAULT_FIELDS):
            s.clock[FAILURE + i] = s.clock[FAULT + i]
    s.clock[FAULT] = NO_FAULT
    s.clock[FAULT_PE] = NONE


@kernel
def tick_elements(s: Arrays, num_elements: int, cycle: int, until: int) -> None:
    """Bring compute elements to `cycle`: after a failure nobody runs ahead of it."""
    for i in range(num_elements):
        pe = s.elements[i]
        if s.clock[FAILURE]:
            if pe == s.clock[FAILURE_PE]:
                continue
            until = min(until, s.clock[FAILURE_CYCLE] + 1)
        tick(s, pe, cycle, until)
        if s.clock[FAULT]:
            keep_earliest_fault(s)


@entry
def run_cycles(s: Arrays, until: int, budget: int) -> int:
    """Go on to before cycle `until`, or until about `budget` units or instructions."""
    num_pes = s.pes.shape[0]
    s.clock[BUDGET] = budget
    while s.clock[BUDGET] > 0:
        cycle = next_cycle(s, until)
        if s.clock[FAILURE] and cycle > s.clock[FAILURE_CYCLE]:
            return FAULTED
        if cycle == NEVER:
            return QUIESCENT
        if cycle >= until:
            return LIMIT
        s.clock[NOW] = cycle
        slot = cycle & (EPOCH_CYCLES - 1)
        num_routers = take(s, slot, 0, s.routers)
        num_elements = take(s, slot + NUM_LISTS, num_pes, s.elements)
        if not has_room_for_events(s, num_routers + num_elements):
            for i in range(num_routers):
                schedule(s, s.routers[i], cycle)
            for i in range(num_elements):
                schedule(s, s.elements[i] + num_pes, cycle)
            return EVENTS_FULL
        s.clock[NUM_MOVES] = 0
        for i in range(num_routers):
            decide(s, s.routers[i], cycle)
        tick_elements(s, num_elements, cycle, until)
        for i in range(s.clock[NUM_MOVES]):
            commit(s, s.moves[i, 0], s.moves[i, 1], cycle)
        s.clock[BUDGET] -= num_routers + num_elements
    return PAUSED


@entry
def wake_units(s: Arrays, units: NDArray[np.int64], cycle: int) -> None:
    """Look at some units in `cycle`."""
    for i in range(len(units)):
        schedule(s, units[i], cycle)
