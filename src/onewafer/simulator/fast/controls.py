"""Control wavelets at a compute element, and what they start (M95, M96)."""

from __future__ import annotations

from onewafer.simulator.arithmetic.control import control_task_of, entry_of
from onewafer.simulator.fast.agenda import wake_attention
from onewafer.simulator.fast.arrays import Arrays, int64
from onewafer.simulator.fast.compilation import kernel, shared
from onewafer.simulator.fast.fields import (
    BLOCK_PE,
    CONTROL_FAULT,
    FAR,
    FAULT,
    FAULT_CYCLE,
    FAULT_DETAIL,
    FAULT_OTHER,
    FAULT_PE,
    FIFO_READER,
    FIFO_ROW,
    FIFOS_COLOR,
    NO_TASK_KIND,
    NONE,
    PE_CHANNELS,
    PE_PROGRAM,
    PROGRAM_CHANNELS,
    PROGRAM_CONTROL_TASKS,
    PROGRAM_NUM_CHANNELS,
    TASK_KIND,
    WAY_CHANNEL,
    WAY_COLOR,
    WAY_CONTROL_OFFSET,
    WAY_NUMBER,
)
from onewafer.simulator.fast.fifo import ready_cycle
from onewafer.simulator.fast.marks import is_control_next
from onewafer.simulator.fast.switching import marked_word


@shared
def ready_controls(s: Arrays, block: int, cycle: int) -> int:
    """Return, by the picker's number, where a control wavelet starts a task now (M96)."""
    pe = s.arena[block + BLOCK_PE]
    program = s.pes[pe, PE_PROGRAM]
    first = s.programs[program, PROGRAM_CHANNELS]
    ready = 0
    for way in range(first, first + s.programs[program, PROGRAM_NUM_CHANNELS]):
        channel = s.pes[pe, PE_CHANNELS] + s.ways[way, WAY_CHANNEL]
        readable = ready_cycle(s, channel)
        if readable == FAR or int64(s.blocked_colors[pe]) >> s.ways[way, WAY_COLOR] & 1:
            continue
        if s.arena[channel + FIFO_READER]:
            continue
        if not is_control_next(s, channel):
            continue
        if readable > cycle:
            wake_attention(s, block, readable)
            continue
        entry = control_task_of(entry_of(marked_word(s, channel)), s.ways[way, WAY_CONTROL_OFFSET])
        if s.tasks[s.programs[program, PROGRAM_CONTROL_TASKS] + entry, TASK_KIND] == NO_TASK_KIND:
            s.clock[FAULT] = CONTROL_FAULT
            s.clock[FAULT_DETAIL] = entry
            s.clock[FAULT_OTHER] = s.fifos[s.arena[channel + FIFO_ROW], FIFOS_COLOR]
            s.clock[FAULT_PE] = pe
            s.clock[FAULT_CYCLE] = cycle
            return 0
        ready |= 1 << s.ways[way, WAY_NUMBER]
    return ready


@kernel
def way_of_number(s: Arrays, pe: int, number: int) -> int:
    """Return the row of the channel whose wavelets the picker finds at a number."""
    program = s.pes[pe, PE_PROGRAM]
    first = s.programs[program, PROGRAM_CHANNELS]
    for way in range(first, first + s.programs[program, PROGRAM_NUM_CHANNELS]):
        if s.ways[way, WAY_NUMBER] == number:
            return way
    return NONE
