"""The loop over cycles: only those in which something can happen.

Routers decide, compute elements act on their side of the queues, then the moves are committed (M1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.simulator.fast.agenda import NUM_LISTS, EPOCH_CYCLES, next_cycle, schedule, take
from onewafer.simulator.fast.compilation import entry, kernel
from onewafer.simulator.fast.data_path import serve, settle_path
from onewafer.simulator.fast.fields import (
    BUDGET,
    FAULT,
    IDLE,
    NEVER,
    NOW,
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
    serve(s, pe, cycle)


@entry
def run_cycles(s: Arrays, until: int, budget: int) -> int:
    """Go on to before cycle `until`, or until about `budget` units or instructions."""
    num_pes = s.pes.shape[0]
    s.clock[BUDGET] = budget
    while s.clock[BUDGET] > 0:
        cycle = next_cycle(s, until)
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
        for i in range(num_elements):
            tick(s, s.elements[i], cycle, until)
            if s.clock[FAULT]:
                return FAULTED
        for i in range(s.clock[NUM_MOVES]):
            commit(s, s.moves[i, 0], s.moves[i, 1], cycle)
        s.clock[BUDGET] -= num_routers + num_elements
    return PAUSED


@entry
def wake_units(s: Arrays, units: NDArray[np.int64], cycle: int) -> None:
    """Look at some units in `cycle`."""
    for i in range(len(units)):
        schedule(s, units[i], cycle)
