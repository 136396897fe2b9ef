"""Control wavelets at a compute element, and the tasks that they start (M95, M96)."""

from __future__ import annotations

from onewafer.simulator.arithmetic.control import control_task_of, entry_of
from onewafer.simulator.fast.kernels.bookkeeping.agenda import wake_attention
from onewafer.simulator.fast.kernels.fabric.fifo import ready_cycle
from onewafer.simulator.fast.kernels.fabric.marks import is_control_next
from onewafer.simulator.fast.kernels.fabric.switching import marked_word
from onewafer.simulator.fast.machine_code.compilation import kernel, shared
from onewafer.simulator.fast.state import fields as f
from onewafer.simulator.fast.state.arrays import Arrays, int64


@shared
def ready_controls(s: Arrays, block: int, cycle: int) -> int:
    """Return the bit set of channels whose control wavelet can start a task now (M96)."""
    pe = s.arena[block + f.BLOCK_PE]
    program = s.pes[pe, f.PE_PROGRAM]
    first = s.programs[program, f.PROGRAM_CHANNELS]
    ready = 0
    for way in range(first, first + s.programs[program, f.PROGRAM_NUM_CHANNELS]):
        channel = s.pes[pe, f.PE_CHANNELS] + s.ways[way, f.WAY_CHANNEL]
        readable = ready_cycle(s, channel)
        if readable == f.FAR or int64(s.blocked_colors[pe]) >> s.ways[way, f.WAY_COLOR] & 1:
            continue
        if s.arena[channel + f.FIFO_READER]:
            continue
        if not is_control_next(s, channel):
            continue
        if readable > cycle:
            wake_attention(s, block, readable)
            continue
        entry = control_task_of(
            entry_of(marked_word(s, channel)), s.ways[way, f.WAY_CONTROL_OFFSET]
        )
        if (
            s.tasks[s.programs[program, f.PROGRAM_CONTROL_TASKS] + entry, f.TASK_KIND]
            == f.NO_TASK_KIND
        ):
            s.clock[f.FAULT] = f.CONTROL_FAULT
            s.clock[f.FAULT_DETAIL] = entry
            s.clock[f.FAULT_OTHER] = s.fifos[s.arena[channel + f.FIFO_ROW], f.FIFOS_COLOR]
            s.clock[f.FAULT_PE] = pe
            s.clock[f.FAULT_CYCLE] = cycle
            return 0
        ready |= 1 << s.ways[way, f.WAY_NUMBER]
    return ready


@kernel
def way_of_number(s: Arrays, pe: int, number: int) -> int:
    """Return the row of the channel with a number in the task picker."""
    program = s.pes[pe, f.PE_PROGRAM]
    first = s.programs[program, f.PROGRAM_CHANNELS]
    for way in range(first, first + s.programs[program, f.PROGRAM_NUM_CHANNELS]):
        if s.ways[way, f.WAY_NUMBER] == number:
            return way
    return f.NONE
