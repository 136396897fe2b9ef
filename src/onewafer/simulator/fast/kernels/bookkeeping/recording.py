"""Events, written into a buffer that the engine empties between cycles, and counts of findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.simulator.fast.machine_code.compilation import kernel, shared
from onewafer.simulator.fast.state import fields as f
from onewafer.simulator.protocol.findings import FindingKind

if TYPE_CHECKING:
    from onewafer.simulator.fast.state.arrays import Arrays

_CONTROL_AS_DATA = int(FindingKind.CONTROL_AS_DATA)
EVENTS_PER_PE = 128
"""No PE records more in one cycle: 24 colors, each to a link or the ramp, a main thread that is
stopped after `MAIN_THREAD_EVENTS`, and beginning and end of an operation on each thread."""
MAIN_THREAD_EVENTS = 32


@kernel
def record(s: Arrays, cycle: int, block: int, kind: int, subject: int, value: int) -> None:
    """Record an event, if there is an event sink."""
    if s.clock[f.IS_RECORDING]:
        write_event(s, cycle, block, kind, subject, value)


@shared
def write_event(s: Arrays, cycle: int, block: int, kind: int, subject: int, value: int) -> None:
    """Append an event to the buffer."""
    pe = s.arena[block + f.BLOCK_PE]
    row = s.clock[f.NUM_EVENTS]
    s.events[row, 0] = s.clock[f.BASE] + cycle
    s.events[row, 1] = s.pes[pe, f.PE_Y]
    s.events[row, 2] = s.pes[pe, f.PE_X]
    s.events[row, 3] = kind
    s.events[row, 4] = subject
    s.events[row, 5] = value
    s.clock[f.NUM_EVENTS] = row + 1


@kernel
def row_of_operation(s: Arrays, pe: int, op: int) -> int:
    """Return the row of the instruction that issued an operation."""
    return s.programs[s.pes[pe, f.PE_PROGRAM], f.PROGRAM_CODE] + s.arena[op + f.OP_PC]


@kernel
def note_control_as_data(s: Arrays, block: int, op: int, cycle: int) -> None:
    """Count a control wavelet whose word an operation takes as an element (M95)."""
    pe = s.arena[block + f.BLOCK_PE]
    note_finding(s, _CONTROL_AS_DATA, row_of_operation(s, pe, op), pe, cycle)


@shared
def note_finding(s: Arrays, kind: int, row: int, pe: int, cycle: int) -> None:
    """Count a finding at the instruction of a row (`CODE_FINDINGS`)."""
    at = s.code[row, f.CODE_FINDINGS] + f.NUM_FINDING_FIELDS * kind
    key = f.FIRST_FINDING - (s.clock[f.BASE] + cycle) * s.blocks.shape[0] - pe
    s.clock[at + f.FINDING_TIMES] += 1
    s.clock[at + f.FINDING_FIRST] = max(s.clock[at + f.FINDING_FIRST], key)


@kernel
def has_room_for_events(s: Arrays, num_looks: int) -> bool:
    """Tell whether there is room for the events of `num_looks` visits."""
    if not s.clock[f.IS_RECORDING]:
        return True
    return s.clock[f.NUM_EVENTS] + num_looks * EVENTS_PER_PE <= s.events.shape[0]
