"""Events: written into a buffer that the engine empties between cycles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.simulator.fast.compilation import kernel
from onewafer.simulator.fast.fields import IS_RECORDING, NUM_EVENTS, PE_X, PE_Y

if TYPE_CHECKING:
    from onewafer.simulator.fast.arrays import Arrays

EVENTS_PER_UNIT = 64
"""No unit records more in one cycle: 24 colors, each to a link or the ramp, or a main thread
that is stopped after `MAIN_THREAD_EVENTS`."""
MAIN_THREAD_EVENTS = 32


@kernel
def record(s: Arrays, cycle: int, pe: int, kind: int, subject: int, value: int) -> None:
    """Tell the event sink, if there is one."""
    if not s.clock[IS_RECORDING]:
        return
    row = s.clock[NUM_EVENTS]
    s.events[row, 0] = cycle
    s.events[row, 1] = s.pes[pe, PE_Y]
    s.events[row, 2] = s.pes[pe, PE_X]
    s.events[row, 3] = kind
    s.events[row, 4] = subject
    s.events[row, 5] = value
    s.clock[NUM_EVENTS] = row + 1


@kernel
def has_room_for_events(s: Arrays, num_units: int) -> bool:
    """Tell whether a cycle that looks at `num_units` units may begin."""
    if not s.clock[IS_RECORDING]:
        return True
    return s.clock[NUM_EVENTS] + num_units * EVENTS_PER_UNIT <= s.events.shape[0]
