"""Tasks: activation, blocking, and the picker (M60–M65)."""

from __future__ import annotations

from onewafer.image import NO_TASK, ChannelKind
from onewafer.simulator.arithmetic.integer import wrap
from onewafer.simulator.fast.agenda import schedule_element, schedule_router
from onewafer.simulator.fast.arrays import Arrays, int64
from onewafer.simulator.fast.compilation import kernel
from onewafer.simulator.fast.fields import (
    CHANNEL_COUNT,
    CHANNEL_HEAD,
    CHANNEL_IS_AWAITED,
    CHANNEL_READER,
    CHANNEL_RING,
    CONFIG_ACTIVATE,
    CONFIG_UNBLOCK,
    DATA_TASK,
    LAUNCH_ARGUMENTS,
    LAUNCH_ENTRY,
    LAUNCH_ID,
    LAUNCH_NUM_ARGUMENTS,
    LOCAL_TASK,
    NONE,
    NUM_TASK_IDS,
    OP_CONFIG,
    PE_CHANNELS,
    PE_LAST_PICKED,
    PE_MAIN,
    PE_MAIN_FREE,
    PE_MAIN_NEXT,
    PE_PC,
    PE_PROGRAM,
    PE_RETURN_DEPTH,
    PE_TASK_STARTS,
    PROGRAM_INPUTS,
    PROGRAM_TASKS,
    RING_READY,
    RUNNING,
    T_RESUME,
    T_TASK_START,
    TASK_CHANNEL,
    TASK_COLOR,
    TASK_ENTRY,
    TASK_KIND,
    TASK_NUM_ARGUMENTS,
    TASK_REGISTERS,
    TASK_TYPES,
)
from onewafer.simulator.fast.operation import take_word
from onewafer.simulator.fast.recording import record
from onewafer.trace import EventKind

_TASK_START = int(EventKind.TASK_START)
_COLOR, _INPUT_QUEUE = int(ChannelKind.COLOR), int(ChannelKind.INPUT_QUEUE)
_WORD = 0xFFFF_FFFF


@kernel
def activate(s: Arrays, pe: int, task_id: int) -> None:
    """Make a local task pending (M61)."""
    s.pending_tasks[pe] = int64(s.pending_tasks[pe]) | (1 << task_id)


@kernel
def set_blocked(s: Arrays, pe: int, encoded: int, is_blocked: bool) -> None:
    """Block or unblock a `channel()` (M61)."""
    kind = encoded >> 8
    color = NONE
    if kind == _COLOR:
        color = encoded & 0xFF
    elif kind == _INPUT_QUEUE:
        color = s.programs[s.pes[pe, PE_PROGRAM], PROGRAM_INPUTS + (encoded & 0xFF)]
    flags = s.blocked_tasks if color == NONE else s.blocked_colors
    bit = int64(1) << ((encoded & 0xFF) if color == NONE else color)
    before = int64(flags[pe])
    flags[pe] = before | bit if is_blocked else before & (_WORD ^ bit)


@kernel
def operation_ended(s: Arrays, pe: int, op: int, cycle: int) -> None:
    """Resume the main thread, or activate and unblock (M31, M39)."""
    config = s.operations[op, OP_CONFIG]
    if config == NONE:
        s.pes[pe, PE_MAIN] = RUNNING
        s.pes[pe, PE_MAIN_NEXT] = cycle + s.timing[T_RESUME]
        return
    if s.configs[config, CONFIG_ACTIVATE] != NO_TASK:
        activate(s, pe, s.configs[config, CONFIG_ACTIVATE])
    if s.configs[config, CONFIG_UNBLOCK] != NO_TASK:
        set_blocked(s, pe, s.configs[config, CONFIG_UNBLOCK], False)


@kernel
def pick(s: Arrays, pe: int, cycle: int) -> None:
    """Start a ready task (M60, M62–M64)."""
    if cycle < s.pes[pe, PE_MAIN_FREE]:
        schedule_element(s, pe, s.pes[pe, PE_MAIN_FREE])
        return
    picked = find_ready(s, pe, cycle)
    if picked == NONE:
        return
    s.pes[pe, PE_LAST_PICKED] = picked
    s.pes[pe, PE_RETURN_DEPTH] = 0
    s.pes[pe, PE_MAIN] = RUNNING
    s.pes[pe, PE_MAIN_NEXT] = cycle + s.timing[T_TASK_START]
    s.pes[pe, PE_TASK_STARTS] += 1
    if picked == LAUNCH_ID:
        take_launch(s, pe)
    else:
        take_task(s, pe, picked, cycle)
    record(s, s.pes[pe, PE_MAIN_NEXT], pe, _TASK_START, picked, s.pes[pe, PE_PC])


@kernel
def find_ready(s: Arrays, pe: int, cycle: int) -> int:
    """Return the ready task that comes first after the last one; ask to be woken for others."""
    runnable = int64(s.pending_tasks[pe]) & ~int64(s.blocked_tasks[pe])
    first = s.programs[s.pes[pe, PE_PROGRAM], PROGRAM_TASKS]
    start = s.pes[pe, PE_LAST_PICKED] + 1
    picked = NONE
    for i in range(NUM_TASK_IDS):
        task_id = (start + i) % NUM_TASK_IDS
        kind = s.tasks[first + task_id, TASK_KIND]
        is_ready = task_id == LAUNCH_ID and s.launches[pe, LAUNCH_ENTRY] != NONE
        if kind == LOCAL_TASK:
            is_ready = runnable >> task_id & 1 != 0
        elif kind == DATA_TASK:
            is_ready = is_data_ready(s, pe, first + task_id, cycle)
        if is_ready and picked == NONE:
            picked = task_id
    return picked


@kernel
def is_data_ready(s: Arrays, pe: int, task: int, cycle: int) -> bool:
    """Tell whether a data task could start; ask to be woken when its wavelet is there (M65)."""
    channel = s.pes[pe, PE_CHANNELS] + s.tasks[task, TASK_CHANNEL]
    if (
        int64(s.blocked_colors[pe]) >> s.tasks[task, TASK_COLOR] & 1
        or s.channels[channel, CHANNEL_READER] != NONE
        or s.channels[channel, CHANNEL_COUNT] == 0
    ):
        return False
    row = s.channels[channel, CHANNEL_RING] + s.channels[channel, CHANNEL_HEAD]
    readable = s.rings[row, RING_READY]
    if readable <= cycle:
        return True
    schedule_element(s, pe, readable)
    return False


@kernel
def take_launch(s: Arrays, pe: int) -> None:
    """Start a launched function: its arguments go into their registers (M70)."""
    s.pes[pe, PE_PC] = s.launches[pe, LAUNCH_ENTRY]
    s.launches[pe, LAUNCH_ENTRY] = NONE
    for i in range(s.launches[pe, LAUNCH_NUM_ARGUMENTS]):
        column = LAUNCH_ARGUMENTS + 2 * i
        s.registers[pe, s.launches[pe, column]] = s.launches[pe, column + 1]


@kernel
def take_task(s: Arrays, pe: int, task_id: int, cycle: int) -> None:
    """Clear what made a task ready, and put its wavelet into registers."""
    task = s.programs[s.pes[pe, PE_PROGRAM], PROGRAM_TASKS] + task_id
    s.pes[pe, PE_PC] = s.tasks[task, TASK_ENTRY]
    if s.tasks[task, TASK_KIND] == LOCAL_TASK:
        s.pending_tasks[pe] = int64(s.pending_tasks[pe]) & (_WORD ^ (1 << task_id))
        return
    channel = s.pes[pe, PE_CHANNELS] + s.tasks[task, TASK_CHANNEL]
    word = take_word(s, channel)
    if s.channels[channel, CHANNEL_IS_AWAITED]:
        s.channels[channel, CHANNEL_IS_AWAITED] = 0
        schedule_router(s, pe, cycle + 1)
    num_arguments = s.tasks[task, TASK_NUM_ARGUMENTS]
    if num_arguments == 1:
        s.registers[pe, s.tasks[task, TASK_REGISTERS]] = wrap(word, s.tasks[task, TASK_TYPES])
    elif num_arguments > 1:
        for i in range(num_arguments):
            half = word >> (16 * i) & 0xFFFF
            register = s.tasks[task, TASK_REGISTERS + i]
            s.registers[pe, register] = wrap(half, s.tasks[task, TASK_TYPES + i])
