"""Which units have to be looked at in which cycle: a wheel of lists, and one list of the rest.

A unit is a router (its PE index) or a compute element (that plus the number of PEs). It is woken at
the earliest cycle that was asked for since it was last looked at. The wheel has a list for each
cycle of the running epoch; what is woken later waits in one list, which is dealt out when an epoch
begins. Lists keep the order in which units were scheduled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.simulator.fast.compilation import kernel
from onewafer.simulator.fast.fields import EPOCH_END, LAST_END, NEVER, NONE, NOW

if TYPE_CHECKING:
    from onewafer.simulator.fast.arrays import Arrays, Matrix

EPOCH_CYCLES = 4096
"""A power of two."""
_LATER = EPOCH_CYCLES
"""The list of what is woken after the epoch."""
NUM_LISTS = EPOCH_CYCLES + 1
"""For routers; as many for compute elements follow."""


@kernel
def note(s: Arrays, cycle: int) -> None:
    """Remember that something goes on until `cycle` (M80)."""
    if cycle > s.clock[LAST_END]:
        s.clock[LAST_END] = cycle


@kernel
def list_of(s: Arrays, unit: int, cycle: int) -> int:
    """Return the list in which a unit waits for `cycle`."""
    slot = cycle & (EPOCH_CYCLES - 1) if cycle < s.clock[EPOCH_END] else _LATER
    return slot if unit < s.pes.shape[0] else slot + NUM_LISTS


@kernel
def schedule(s: Arrays, unit: int, cycle: int) -> None:
    """Wake a unit in `cycle`, unless it is woken before."""
    asked = s.wake[unit]
    if cycle >= asked:
        return
    if asked != NEVER:
        remove(s, unit, list_of(s, unit, asked))
    s.wake[unit] = cycle
    append(s, unit, list_of(s, unit, cycle))


@kernel
def schedule_router(s: Arrays, pe: int, cycle: int) -> None:
    """Wake the router of a PE."""
    schedule(s, pe, cycle)


@kernel
def schedule_element(s: Arrays, pe: int, cycle: int) -> None:
    """Wake the compute element of a PE."""
    schedule(s, pe + s.pes.shape[0], cycle)


@kernel
def append(s: Arrays, unit: int, number: int) -> None:
    """Put a unit at the end of a list."""
    last = s.slots[number, 1]
    s.neighbours[unit, 0] = last
    s.neighbours[unit, 1] = NONE
    if last < 0:
        s.slots[number, 0] = unit
    else:
        s.neighbours[last, 1] = unit
    s.slots[number, 1] = unit


@kernel
def remove(s: Arrays, unit: int, number: int) -> None:
    """Take a unit out of its list."""
    before = s.neighbours[unit, 0]
    behind = s.neighbours[unit, 1]
    if before < 0:
        s.slots[number, 0] = behind
    else:
        s.neighbours[before, 1] = behind
    if behind < 0:
        s.slots[number, 1] = before
    else:
        s.neighbours[behind, 0] = before


@kernel
def next_cycle(s: Arrays, until: int) -> int:
    """Return the first cycle in which a unit has to be looked at, or NEVER.

    The next epoch begins only if that cycle comes before `until`: the host may still schedule
    something from there on.
    """
    while True:
        now = s.clock[NOW]
        for cycle in range(now, s.clock[EPOCH_END]):
            slot = cycle & (EPOCH_CYCLES - 1)
            if s.slots[slot, 0] >= 0 or s.slots[slot + NUM_LISTS, 0] >= 0:
                return cycle
        first = min(earliest(s, _LATER), earliest(s, _LATER + NUM_LISTS))
        if first >= until:
            return first
        s.clock[NOW] = first
        s.clock[EPOCH_END] = (first // EPOCH_CYCLES + 1) * EPOCH_CYCLES
        deal_out(s, _LATER)
        deal_out(s, _LATER + NUM_LISTS)


@kernel
def earliest(s: Arrays, number: int) -> int:
    """Return the first cycle that a unit of a list waits for."""
    first = NEVER
    unit = s.slots[number, 0]
    while unit >= 0:
        first = min(first, s.wake[unit])
        unit = s.neighbours[unit, 1]
    return first


@kernel
def deal_out(s: Arrays, number: int) -> None:
    """Move the units of the new epoch from the list of the rest to those of their cycles."""
    unit = s.slots[number, 0]
    while unit >= 0:
        behind = s.neighbours[unit, 1]
        if s.wake[unit] < s.clock[EPOCH_END]:
            remove(s, unit, number)
            append(s, unit, list_of(s, unit, s.wake[unit]))
        unit = behind


@kernel
def take(s: Arrays, number: int, first_unit: int, taken: Matrix) -> int:
    """Empty a list into `taken`, as PE indices; each unit is asleep until it asks again."""
    count = 0
    unit = s.slots[number, 0]
    while unit >= 0:
        taken[count] = unit - first_unit
        count += 1
        s.wake[unit] = NEVER
        unit = s.neighbours[unit, 1]
    s.slots[number, 0] = NONE
    s.slots[number, 1] = NONE
    return count
