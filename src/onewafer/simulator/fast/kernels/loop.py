"""The loop over windows of cycles: only those in which something can happen.

No PE can affect another one within a window (M1, M50, M53: its length is at most `hop_cycles` and
`credit_cycles`). So every PE does a whole window in one visit, compute element and router in
turn; wavelets between them are stamped with cycles, see `fifo`.

If a window has many PEs, several threads share it (see `sharing`, `signals` and `team`). The first
thread chooses windows, and runs them alone where help would cost more than it gains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.simulator.fast.kernels.bookkeeping.agenda import (
    NUM_SLOTS,
    count_pes,
    deal_out,
    enlist,
    first_list,
    next_window,
    note,
    share_of,
    wake_element,
)
from onewafer.simulator.fast.kernels.bookkeeping.recording import has_room_for_events
from onewafer.simulator.fast.kernels.bookkeeping.signals import (
    NUM_BUSY,
    NUM_LEAN,
    NUM_LOOKS,
    PLANNED_END,
    PLANNED_LIMIT,
    PLANNED_START,
    TURN,
    arrive,
    await_turn,
    is_complete,
    meet,
)
from onewafer.simulator.fast.kernels.compute_element.data_path import serve
from onewafer.simulator.fast.kernels.compute_element.elements import stream
from onewafer.simulator.fast.kernels.compute_element.main_thread import attend
from onewafer.simulator.fast.kernels.compute_element.staging import settle
from onewafer.simulator.fast.kernels.epoch import rebase
from onewafer.simulator.fast.kernels.fabric.queues import look_again
from onewafer.simulator.fast.kernels.fabric.registers import settle_register
from onewafer.simulator.fast.kernels.fabric.router import route_wavelets
from onewafer.simulator.fast.kernels.fetching import fetch_ahead
from onewafer.simulator.fast.machine_code.compilation import entry, kernel, merged, shared
from onewafer.simulator.fast.machine_code.native import load_signal, opened, store_signal
from onewafer.simulator.fast.state import fields as f

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from onewafer.simulator.fast.machine_code.native import Bound
    from onewafer.simulator.fast.state.arrays import Arrays

(
    GOING_ON,
    QUIESCENT,
    LIMIT,
    FAULTED,
    PAUSED,
    EVENTS_FULL,
    HELP_WANTED,  # the windows are worth several threads
    HELP_UNWANTED,  # they are not any more
    HELP_FUTILE,  # they are, but threads wait for each other
    BROKEN,  # another thread was torn off
    TOGETHER,
) = range(11)
"""Outcomes of `run_cycles` and of `plan`: why the run ended, or whether threads help."""
MOST_LEAN_WINDOWS = 1 << 15
"""Consecutive windows of few PEs after which the other threads are dismissed."""
FREE_LOOKS, LOOKS_PER_PE = 1 << 16, 1
"""How often the first thread may poll the others in vain. A poll takes 5 to 50 ns, a PE 100."""


@merged
def visit(s: Arrays, block: int, start: int, end: int, until: int) -> None:
    """Bring a PE from cycle `start` to `end`.

    Independent units run ahead of the clock, to before `until`; but not while events are recorded,
    so that the event buffer can be small.
    """
    horizon = end if s.clock[f.IS_RECORDING] else min(until, f.FAR)
    while True:
        # To begin what is due only later (the elements of wavelets that a router just delivered)
        # saves looks, but was measured to be slower: bunches get smaller.
        wake = min(s.arena[block + f.BLOCK_ELEMENT_WAKE], s.arena[block + f.BLOCK_ROUTER_WAKE])
        if wake >= end:
            break
        cycle = max(wake, start)
        if s.arena[block + f.BLOCK_ELEMENT_WAKE] <= cycle:
            s.arena[block + f.BLOCK_ELEMENT_WAKE] = f.FAR
            tick(s, block, cycle, horizon, until)
        if s.arena[block + f.BLOCK_ROUTER_WAKE] <= cycle:
            s.arena[block + f.BLOCK_ROUTER_WAKE] = f.FAR
            route_wavelets(s, block, cycle, horizon)
    if wake < f.FAR:
        enlist(s, block, wake)


@merged
def tick(s: Arrays, block: int, cycle: int, horizon: int, until: int) -> None:
    """Let a compute element act in `cycle`, unless it has failed, perhaps later than another PE."""
    pe = s.arena[block + f.BLOCK_PE]
    if s.clock[f.FAILURE] and s.pes[pe, f.PE_HAS_FAILED]:
        return
    if s.arena[block + f.BLOCK_ATTENTION] <= cycle:
        attend(s, block, cycle, until)
    else:
        wake_element(s, block, s.arena[block + f.BLOCK_ATTENTION])
    if not s.clock[f.FAULT]:
        lone = s.arena[block + f.BLOCK_LONE]
        if lone:
            stream(s, block, lone, cycle, horizon)
        else:
            serve(s, block, cycle)
            if s.arena[block + f.BLOCK_IS_CONTENDED] & f.IS_ASKED:
                look_again(s, block, cycle)
    if s.clock[f.FAULT]:
        s.pes[pe, f.PE_HAS_FAILED] = 1
        keep_earliest_fault(s)


@shared
def keep_earliest_fault(s: Arrays) -> None:
    """Make a fault the failure of the run, unless one of an earlier cycle or PE is known (M2)."""
    cycle, pe = s.clock[f.FAULT_CYCLE], s.clock[f.FAULT_PE]
    known = s.clock[f.FAILURE_CYCLE]
    if not s.clock[f.FAILURE] or cycle < known or (cycle == known and pe < s.clock[f.FAILURE_PE]):
        for i in range(f.NUM_FAULT_FIELDS):
            s.clock[f.FAILURE + i] = s.clock[f.FAULT + i]
    s.clock[f.FAULT] = f.NO_FAULT
    s.clock[f.FAULT_PE] = f.NONE


@merged
def visit_part(s: Arrays, phase: int, slot: int, start: int, end: int, until: int) -> None:
    """Bring every PE of a part to `end`; PEs with further work in the window stay in the list."""
    s.clock[f.NOW] = start
    if s.clock[f.HEAP_FIRSTS + phase] < end:
        deal_out(s, phase, end)
    first = first_list(s, phase)
    for row in range(first, first + s.clock[f.NUM_SHARES]):
        count = s.wheel_counts[row, slot]
        place = s.lists[row, f.LIST_START]
        for i in range(place, place + count):
            fetch_ahead(s, slot, i, place + count, end)
            block = s.wheel[slot, i]
            s.arena[block + f.BLOCK_SLOTS] &= ~(1 << slot)
            if s.clock[f.FAILURE]:
                until = min(until, s.clock[f.FAILURE_CYCLE] + 1)
                end = min(end, until)
            visit(s, block, start, end, until)
        left = s.wheel_counts[row, slot] - count
        for i in range(place, place + left):
            s.wheel[slot, i] = s.wheel[slot, i + count]
        s.wheel_counts[row, slot] = left


# --- windows -------------------------------------------------------------------------------------


@kernel
def agree(bound: Bound) -> None:
    """Set the clocks of all shares to that of the first one."""
    s = opened(bound, 0)
    for share in range(1, s.clock[f.NUM_SHARES]):
        other = opened(bound, share)
        for field in (f.BASE, f.NOW, f.IS_RECORDING):
            other.clock[field] = s.clock[field]
        for field in range(f.FAILURE, f.FAILURE + f.NUM_FAULT_FIELDS):
            other.clock[field] = s.clock[field]


@shared
def gather(bound: Bound) -> None:
    """Merge the results of a window into the first share's clock, and a failure into all."""
    s = opened(bound, 0)
    for share in range(1, s.clock[f.NUM_SHARES]):
        other = opened(bound, share)
        s.clock[f.BUDGET] += other.clock[f.BUDGET]
        other.clock[f.BUDGET] = 0
        if is_earlier_failure(other, s):
            for field in range(f.FAILURE, f.FAILURE + f.NUM_FAULT_FIELDS):
                s.clock[field] = other.clock[field]
    if s.clock[f.FAILURE]:
        s.clock[f.NOW] = min(s.clock[f.NOW], s.clock[f.FAILURE_CYCLE] + 1)
        agree(bound)


@kernel
def is_earlier_failure(s: Arrays, other: Arrays) -> bool:
    """Tell whether the failure of a share precedes the noted one (M2)."""
    if not s.clock[f.FAILURE] or not other.clock[f.FAILURE]:
        return s.clock[f.FAILURE] != f.NO_FAULT
    if s.clock[f.FAILURE_CYCLE] != other.clock[f.FAILURE_CYCLE]:
        return s.clock[f.FAILURE_CYCLE] < other.clock[f.FAILURE_CYCLE]
    return s.clock[f.FAILURE_PE] < other.clock[f.FAILURE_PE]


@shared
def plan(bound: Bound, until: int, session: int, has_team: bool) -> int:
    """Choose the next window and its threads, or return why the run ends."""
    s = opened(bound, 0)
    if s.clock[f.BUDGET] <= 0:
        return PAUSED
    if s.clock[f.NUM_SHARES] > 1:
        outcome = judge_help(s, session)
        if outcome != GOING_ON:
            return outcome
    if s.clock[f.NOW] >= s.clock[f.REBASE_AT]:
        rebase(bound)
    limit = until - s.clock[f.BASE]
    start = next_window(bound, limit)
    if s.clock[f.FAILURE] and start > s.clock[f.FAILURE_CYCLE]:
        return FAULTED
    if start == f.NEVER:
        return QUIESCENT
    if start >= limit:
        return LIMIT
    shift = s.timing[f.T_WINDOW_SHIFT]
    end = min((start >> shift) + 1 << shift, limit)
    slot = (start >> shift) & (NUM_SLOTS - 1)
    if s.clock[f.NUM_SHARES] == 1 and s.clock[f.HEAP_FIRSTS] < end:
        deal_out(s, 0, end)
    count = count_pes(s, slot)
    if not has_room_for_events(s, count << shift):
        return EVENTS_FULL
    for share in range(s.clock[f.NUM_SHARES]):
        opened(bound, share).clock[f.WRITTEN_SLOTS] &= ~(1 << slot)
    s.signals[PLANNED_START] = start
    s.signals[PLANNED_END] = end
    s.signals[PLANNED_LIMIT] = limit
    s.clock[f.BUDGET] -= max(count, 1)
    if count < s.clock[f.MANY_PES]:
        s.signals[NUM_LEAN] += 1
        return GOING_ON
    s.signals[NUM_LEAN] = 0
    s.signals[NUM_BUSY] += count
    return TOGETHER if has_team else GOING_ON


@kernel
def judge_help(s: Arrays, session: int) -> int:
    """Return whether to call or dismiss the other threads; `GOING_ON`: neither.

    Help pays for windows of many PEs, unless this thread often waits for the others: the computer
    is busy with other work, or one thread has all the work.
    """
    if session == 0:
        return HELP_WANTED if s.signals[NUM_BUSY] >= s.clock[f.HELP_AFTER] else GOING_ON
    if s.signals[NUM_LEAN] >= MOST_LEAN_WINDOWS:
        return HELP_UNWANTED
    if s.signals[NUM_LOOKS] > FREE_LOOKS + LOOKS_PER_PE * s.signals[NUM_BUSY]:
        return HELP_FUTILE
    return GOING_ON


@shared
def conclude(bound: Bound, outcome: int) -> None:
    """Store the machine's progress in the first share's clock."""
    s = opened(bound, 0)
    for share in range(1, s.clock[f.NUM_SHARES]):
        note(s, opened(bound, share).clock[f.LAST_END])
    if outcome == QUIESCENT:
        s.clock[f.NOW] = min(s.clock[f.NOW], s.clock[f.LAST_END])


@entry
def run_cycles(bound: Bound, share: int, session: int, until: int, budget: int) -> int:
    """Run to before cycle `until`, or for about `budget` visits or instructions.

    In a session (0: no session), threads of the other shares call this same function, and run their
    parts of the windows that the first share distributes, until the session is closed.
    """
    s = opened(bound, share)
    is_first = share == 0
    num_shares, num_phases = s.clock[f.NUM_SHARES], s.clock[f.NUM_PHASES]
    shift = s.timing[f.T_WINDOW_SHIFT]
    turn = load_signal(s.signals, TURN)
    has_team = False
    outcome = GOING_ON
    if is_first:
        agree(bound)
        s.clock[f.BUDGET] = budget
    else:
        arrive(s, share, session)
    while True:
        if is_first:
            if session and not has_team:
                has_team = is_complete(s, session)
            outcome = plan(bound, until, session, has_team)
            if outcome != GOING_ON and outcome != TOGETHER:
                break
            if outcome == TOGETHER:
                turn += 1
                store_signal(s.signals, TURN, turn)
        else:
            if not await_turn(s, turn, session):
                break
            turn += 1
            outcome = TOGETHER
        start, end, limit = planned_window(s)
        slot = (start >> shift) & (NUM_SLOTS - 1)
        first, last = 0, num_shares
        if outcome == TOGETHER:
            first, last = share, share + 1
        phase = 0
        while phase < num_phases:
            for member in range(first, last):
                visit_part(opened(bound, member), phase, slot, start, end, limit)
            if outcome == TOGETHER and not meet(s, share, session, turn * f.MAX_PHASES + phase):
                outcome = BROKEN
                break
            phase += 1
        if outcome == BROKEN:
            break
        if is_first:
            s.clock[f.NOW] = end
            gather(bound)
    if is_first:
        conclude(bound, outcome)
    return outcome


@kernel
def planned_window(s: Arrays) -> tuple[int, int, int]:
    """Return start, end and limit of the window of the turn."""
    return s.signals[PLANNED_START], s.signals[PLANNED_END], s.signals[PLANNED_LIMIT]


@entry
def wake_routers(bound: Bound, pes: NDArray[np.int64], cycle: int) -> None:
    """Schedule visits to the routers of some PEs in `cycle`."""
    agree(bound)
    for i in range(len(pes)):
        s, block, at = owner_of(bound, pes[i], cycle)
        s.arena[block + f.BLOCK_ROUTER_WAKE] = min(at, s.arena[block + f.BLOCK_ROUTER_WAKE])
        enlist(s, block, at)


@entry
def wake_elements(bound: Bound, pes: NDArray[np.int64], cycle: int) -> None:
    """Schedule visits to the main threads of some PEs in `cycle`."""
    agree(bound)
    for i in range(len(pes)):
        s, block, at = owner_of(bound, pes[i], cycle)
        s.arena[block + f.BLOCK_ATTENTION] = min(at, s.arena[block + f.BLOCK_ATTENTION])
        s.arena[block + f.BLOCK_ELEMENT_WAKE] = min(at, s.arena[block + f.BLOCK_ELEMENT_WAKE])
        enlist(s, block, at)


@entry
def settle_elements(bound: Bound, pes: NDArray[np.int64]) -> None:
    """Write all buffered words of some PEs to SRAM."""
    s = opened(bound, 0)
    for i in range(len(pes)):
        settle(s, s.blocks[pes[i]])
        settle_register(s, s.blocks[pes[i]], f.FAR)


@kernel
def owner_of(bound: Bound, pe: int, cycle: int) -> tuple[Arrays, int, int]:
    """Return the arrays of a PE's share, its block, and a cycle relative to the base."""
    s = opened(bound, 0)
    block = s.blocks[pe]
    at = max(cycle - s.clock[f.BASE], s.clock[f.NOW])
    return opened(bound, share_of(s, block)), block, at
