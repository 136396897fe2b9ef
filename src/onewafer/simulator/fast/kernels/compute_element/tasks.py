"""Tasks: activation, blocking, and the picker (M60–M65)."""

from __future__ import annotations

from onewafer.image import NO_TASK, ChannelKind
from onewafer.simulator.arithmetic.control import control_task_of, entry_of
from onewafer.simulator.arithmetic.integer import wrap
from onewafer.simulator.fast.kernels.bookkeeping.agenda import wake_attention, wake_router
from onewafer.simulator.fast.kernels.bookkeeping.recording import (
    note_finding,
    record,
    row_of_operation,
)
from onewafer.simulator.fast.kernels.compute_element.controls import (
    ready_controls,
    way_of_number,
)
from onewafer.simulator.fast.kernels.fabric.fifo import ready_cycle, take
from onewafer.simulator.fast.kernels.fabric.marks import is_control_next, unmark
from onewafer.simulator.fast.kernels.fabric.queues import home_of_color
from onewafer.simulator.fast.kernels.fabric.switching import marked_word
from onewafer.simulator.fast.machine_code.compilation import kernel, shared
from onewafer.simulator.fast.machine_code.native import trailing_zeros
from onewafer.simulator.fast.state import fields as f
from onewafer.simulator.fast.state.arrays import Arrays, int64
from onewafer.simulator.protocol.findings import FindingKind
from onewafer.simulator.state.schema import FIRST_THREAD
from onewafer.trace import EventKind

_TASK_START = int(EventKind.TASK_START)
_COLOR, _INPUT_QUEUE = int(ChannelKind.COLOR), int(ChannelKind.INPUT_QUEUE)
_MICROTHREAD = int(ChannelKind.MICROTHREAD)
_WORD = 0xFFFF_FFFF
_MERGED_ACTIVATION = int(FindingKind.MERGED_ACTIVATION)
_CONTROL_TASK_ID = 64
"""Added to the id of a control task in events."""


@kernel
def activate(s: Arrays, pe: int, task_id: int, row: int, cycle: int) -> None:
    """Make a local task pending, by the instruction of a row (M61)."""
    pending = int64(s.pending_tasks[pe])
    if pending >> task_id & 1:
        note_finding(s, _MERGED_ACTIVATION, row, pe, cycle)
    s.pending_tasks[pe] = pending | (1 << task_id)


@kernel
def set_blocked(s: Arrays, pe: int, encoded: int, is_blocked: bool) -> None:
    """Block or unblock a `channel()` (M61)."""
    kind = encoded >> 8
    color = f.NONE
    if kind == _COLOR:
        color = encoded & 0xFF
        if s.programs[s.pes[pe, f.PE_PROGRAM], f.PROGRAM_HAS_QUEUES]:
            color = home_of_color(s, pe, color)
            if color == f.NONE:
                return  # no queue serves the color now
    elif kind == _INPUT_QUEUE:
        color = s.programs[s.pes[pe, f.PE_PROGRAM], f.PROGRAM_INPUTS + (encoded & 0xFF)]
    elif kind == _MICROTHREAD:
        color = FIRST_THREAD + (encoded & 0xFF)
    if color == f.NONE:
        s.blocked_tasks[pe] = with_bit(s.blocked_tasks[pe], encoded & 0xFF, is_blocked)
    else:
        s.blocked_colors[pe] = with_bit(s.blocked_colors[pe], color, is_blocked)


@kernel
def with_bit(flags: int, number: int, is_set: bool) -> int:
    """Return the flags with one flag set or cleared."""
    bit = int64(1) << number
    return int64(flags) | bit if is_set else int64(flags) & (_WORD ^ bit)


@kernel
def operation_ended(s: Arrays, block: int, op: int, cycle: int) -> None:
    """Resume the main thread, or activate and unblock (M31, M39)."""
    pe = s.arena[block + f.BLOCK_PE]
    config = s.arena[op + f.OP_CONFIG]
    if config == f.NONE:
        s.pes[pe, f.PE_MAIN] = f.RUNNING
        s.pes[pe, f.PE_RESULT_END] = cycle
        s.pes[pe, f.PE_MAIN_NEXT] = cycle + s.operations[s.arena[op + f.OP_ROW], f.OPS_RESUME]
        return
    if s.configs[config, f.CONFIG_ACTIVATE] != NO_TASK:
        activate(s, pe, s.configs[config, f.CONFIG_ACTIVATE], row_of_operation(s, pe, op), cycle)
    if s.configs[config, f.CONFIG_UNBLOCK] != NO_TASK:
        set_blocked(s, pe, s.configs[config, f.CONFIG_UNBLOCK], False)


@kernel
def control_arrived(s: Arrays, block: int, op: int, cycle: int) -> None:
    """Run the actions of an operation that a control wavelet ends (M98)."""
    pe = s.arena[block + f.BLOCK_PE]
    config = s.arena[op + f.OP_CONFIG]
    if s.configs[config, f.CONFIG_CONTROL_ACTIVATE] != NO_TASK:
        activate(
            s, pe, s.configs[config, f.CONFIG_CONTROL_ACTIVATE], row_of_operation(s, pe, op), cycle
        )
    if s.configs[config, f.CONFIG_CONTROL_UNBLOCK] != NO_TASK:
        set_blocked(s, pe, s.configs[config, f.CONFIG_CONTROL_UNBLOCK], False)


@kernel
def pick(s: Arrays, block: int, cycle: int) -> None:
    """Start a ready task (M60, M62–M64)."""
    pe = s.arena[block + f.BLOCK_PE]
    if cycle < s.pes[pe, f.PE_MAIN_FREE]:
        wake_attention(s, block, s.pes[pe, f.PE_MAIN_FREE])
        return
    ready = ready_tasks(s, block, cycle)
    controls = 0
    if s.programs[s.pes[pe, f.PE_PROGRAM], f.PROGRAM_CONTROL_TASKS] != f.NONE:
        controls = ready_controls(s, block, cycle)
        if s.clock[f.FAULT]:
            return
    if ready | controls == 0:
        return
    start = s.pes[pe, f.PE_LAST_PICKED] + 1
    following = (ready | controls) >> start << start
    picked = trailing_zeros(following if following else ready | controls)
    s.pes[pe, f.PE_LAST_PICKED] = picked
    s.pes[pe, f.PE_RETURN_DEPTH] = 0
    s.pes[pe, f.PE_MAIN] = f.RUNNING
    s.pes[pe, f.PE_MAIN_NEXT] = cycle + s.timing[f.T_TASK_START]
    s.pes[pe, f.PE_TASK_STARTS] += 1
    subject = picked
    if ready >> picked & 1 == 0:
        subject = take_control_task(s, block, picked, cycle)
    elif picked == f.LAUNCH_ID:
        take_launch(s, pe)
    else:
        subject = take_task(s, block, picked, cycle)
    record(s, s.pes[pe, f.PE_MAIN_NEXT], block, _TASK_START, subject, s.pes[pe, f.PE_PC])


@kernel
def ready_tasks(s: Arrays, block: int, cycle: int) -> int:
    """Return the bit set of ready tasks; schedule wake-ups for others."""
    pe = s.arena[block + f.BLOCK_PE]
    program = s.pes[pe, f.PE_PROGRAM]
    ready = int64(s.pending_tasks[pe]) & ~int64(s.blocked_tasks[pe])
    ready &= s.programs[program, f.PROGRAM_LOCAL_TASKS]
    if s.launches[pe, f.LAUNCH_ENTRY] != f.NONE:
        ready |= 1 << f.LAUNCH_ID
    data_tasks = s.programs[program, f.PROGRAM_DATA_TASKS]
    while data_tasks:
        task_id = trailing_zeros(data_tasks)
        data_tasks &= data_tasks - 1
        if is_data_ready(s, block, s.programs[program, f.PROGRAM_TASKS] + task_id, cycle):
            ready |= 1 << task_id
    return ready


@kernel
def is_data_ready(s: Arrays, block: int, task: int, cycle: int) -> bool:
    """Tell whether a data task is ready; schedule a wake-up for its wavelet (M65)."""
    pe = s.arena[block + f.BLOCK_PE]
    channel = s.pes[pe, f.PE_CHANNELS] + s.tasks[task, f.TASK_CHANNEL]
    ready = ready_cycle(s, channel)
    if (
        int64(s.blocked_colors[pe]) >> s.tasks[task, f.TASK_COLOR] & 1
        or s.arena[channel + f.FIFO_READER] != 0
        or ready == f.FAR
    ):
        return False
    if is_control_next(s, channel):
        return False
    if ready <= cycle:
        return True
    wake_attention(s, block, ready)
    return False


@kernel
def take_launch(s: Arrays, pe: int) -> None:
    """Take a launch: put the arguments of the function into registers (M70)."""
    s.pes[pe, f.PE_PC] = s.launches[pe, f.LAUNCH_ENTRY]
    s.launches[pe, f.LAUNCH_ENTRY] = f.NONE
    for i in range(s.launches[pe, f.LAUNCH_NUM_ARGUMENTS]):
        column = f.LAUNCH_ARGUMENTS + 2 * i
        s.registers[pe, s.launches[pe, column]] = s.launches[pe, column + 1]


@kernel
def take_task(s: Arrays, block: int, task_id: int, cycle: int) -> int:
    """Clear a task's activation, and put its wavelet into registers; return the id for events."""
    pe = s.arena[block + f.BLOCK_PE]
    task = s.programs[s.pes[pe, f.PE_PROGRAM], f.PROGRAM_TASKS] + task_id
    s.pes[pe, f.PE_PC] = s.tasks[task, f.TASK_ENTRY]
    if s.tasks[task, f.TASK_KIND] == f.LOCAL_TASK:
        s.pending_tasks[pe] = int64(s.pending_tasks[pe]) & (_WORD ^ (1 << task_id))
        return task_id
    channel = s.pes[pe, f.PE_CHANNELS] + s.tasks[task, f.TASK_CHANNEL]
    if s.tasks[task, f.TASK_ROTATION] != f.NONE and counts_to_limit(s, pe, task):
        entry = s.tasks[task, f.TASK_ALTERNATE]
        start_control_task(s, block, channel, entry, cycle)
        return _CONTROL_TASK_ID + entry
    take_wavelet(s, block, channel, task, cycle)
    return task_id


@kernel
def counts_to_limit(s: Arrays, pe: int, task: int) -> bool:
    """Count the start of a data task; tell whether its rotation partner is next (M142)."""
    number = s.tasks[task, f.TASK_ROTATION]
    count = int64(s.rotation_counts[pe, number])
    is_due = count >= s.tasks[task, f.TASK_LIMIT]
    s.rotation_counts[pe, number] = 0 if is_due else count + 1
    return is_due


@kernel
def start_control_task(s: Arrays, block: int, channel: int, entry: int, cycle: int) -> None:
    """Start a control task with the next wavelet of a channel."""
    pe = s.arena[block + f.BLOCK_PE]
    task = s.programs[s.pes[pe, f.PE_PROGRAM], f.PROGRAM_CONTROL_TASKS] + entry
    s.pes[pe, f.PE_PC] = s.tasks[task, f.TASK_ENTRY]
    take_wavelet(s, block, channel, task, cycle)


@shared
def take_control_task(s: Arrays, block: int, number: int, cycle: int) -> int:
    """Start the control task of a channel by its picker number; return its id in events."""
    pe = s.arena[block + f.BLOCK_PE]
    way = way_of_number(s, pe, number)
    channel = s.pes[pe, f.PE_CHANNELS] + s.ways[way, f.WAY_CHANNEL]
    entry = control_task_of(entry_of(marked_word(s, channel)), s.ways[way, f.WAY_CONTROL_OFFSET])
    start_control_task(s, block, channel, entry, cycle)
    return _CONTROL_TASK_ID + entry


@kernel
def take_wavelet(s: Arrays, block: int, channel: int, task: int, cycle: int) -> None:
    """Take the wavelet that starts a task and put it into the task's registers (M64)."""
    pe = s.arena[block + f.BLOCK_PE]
    is_control = is_control_next(s, channel)
    word = take(s, channel, cycle)
    if is_control:
        unmark(s, channel, 1)
    if s.arena[channel + f.FIFO_STATE]:
        s.arena[channel + f.FIFO_STATE] = 0
        wake_router(s, block, cycle + 1)
    num_arguments = s.tasks[task, f.TASK_NUM_ARGUMENTS]
    if num_arguments == 1:
        s.registers[pe, s.tasks[task, f.TASK_REGISTERS]] = wrap(word, s.tasks[task, f.TASK_TYPES])
    elif num_arguments > 1:
        for i in range(num_arguments):
            half = word >> (16 * i) & 0xFFFF
            register = s.tasks[task, f.TASK_REGISTERS + i]
            s.registers[pe, register] = wrap(half, s.tasks[task, f.TASK_TYPES + i])
