"""The main thread of a PE: its instructions and the issue of DSD operations (M20–M24, M30, M31).

While no DSD operation is live, no other unit changes the main thread's state, so it runs ahead of
the clock, at most to the end of the run's slice.
"""

from __future__ import annotations

from onewafer.image import (
    SAVES_ADDRESS,
    ChannelKind,
    Opcode,
    OperandMode,
    PrintForm,
    ScalarType,
)
from onewafer.simulator.fast.kernels.bookkeeping.agenda import note, wake_attention
from onewafer.simulator.fast.kernels.bookkeeping.recording import (
    MAIN_THREAD_EVENTS,
    note_finding,
    record,
)
from onewafer.simulator.fast.kernels.compute_element.data_path import (
    arm,
    find_lone_operation,
    hold,
    run_alone,
    settle_path,
    start,
)
from onewafer.simulator.fast.kernels.compute_element.elements import place_fault
from onewafer.simulator.fast.kernels.compute_element.exceptions import execute_checked
from onewafer.simulator.fast.kernels.compute_element.memory import read, write
from onewafer.simulator.fast.kernels.compute_element.operation import prepare
from onewafer.simulator.fast.kernels.compute_element.scalars import (
    compute_binary,
    compute_unary,
    convert,
)
from onewafer.simulator.fast.kernels.compute_element.staging import settle
from onewafer.simulator.fast.kernels.compute_element.tasks import activate, pick, set_blocked
from onewafer.simulator.fast.kernels.fabric.queues import tell_empty_queues
from onewafer.simulator.fast.kernels.fabric.registers import (
    find_register,
    read_register,
    write_register,
)
from onewafer.simulator.fast.machine_code.compilation import kernel, merged, shared
from onewafer.simulator.fast.state import fields as f
from onewafer.simulator.fast.state.arrays import Arrays, int64
from onewafer.simulator.protocol.findings import FindingKind
from onewafer.simulator.state.schema import RETURN_STACK_DEPTH
from onewafer.simulator.state.statistics import StallReason
from onewafer.trace import EventKind

MAX_INSTRUCTIONS = 1 << 16
"""After this many instructions, the main thread returns to the loop, so that an endless program can
be stopped."""

_MOST_TASKS = 64
"""The most tasks that are picked ahead of the clock in one visit, so that an endless chain can be
stopped."""
_MICROTHREAD_BUSY = int(StallReason.MICROTHREAD_BUSY)
_BUSY_MICROTHREAD = int(FindingKind.BUSY_MICROTHREAD)
_TIMESTAMP_EVENT = int(EventKind.TIMESTAMP)
_PRINT_EVENT, _PRINT, _TEXT = int(EventKind.PRINT), int(Opcode.PRINT), int(PrintForm.TEXT)
_STREAM_UNBLOCKED = int(EventKind.STREAM_UNBLOCKED)
_DSR_DEST = int(OperandMode.DSR_DEST)
_I8, _I16 = int(ScalarType.I8), int(ScalarType.I16)
_TYPE_BYTES = tuple(kind.num_bytes for kind in ScalarType)

_END_TASK, _JUMP = int(Opcode.END_TASK), int(Opcode.JUMP)
_BRANCH_ZERO, _BRANCH_NONZERO = int(Opcode.BRANCH_ZERO), int(Opcode.BRANCH_NONZERO)
_CALL, _RETURN, _TRAP = int(Opcode.CALL), int(Opcode.RETURN), int(Opcode.TRAP)
_LOAD_IMMEDIATE, _MOVE = int(Opcode.LOAD_IMMEDIATE), int(Opcode.MOVE)
_LOAD, _STORE = int(Opcode.LOAD), int(Opcode.STORE)
_NEG, _NOT, _CONVERT = int(Opcode.NEG), int(Opcode.NOT), int(Opcode.CONVERT)
_DSD_SET_BASE, _DSD_SET_LENGTH = int(Opcode.DSD_SET_BASE), int(Opcode.DSD_SET_LENGTH)
_DSD_SET_STRIDE, _DSD_ADVANCE = int(Opcode.DSD_SET_STRIDE), int(Opcode.DSD_ADVANCE)
_DSR_LOAD, _DSD = int(Opcode.DSR_LOAD), int(Opcode.DSD)
_DSR_LOAD_CONSTANT = int(Opcode.DSR_LOAD_CONSTANT)
_ACTIVATE, _BLOCK, _UNBLOCK = int(Opcode.ACTIVATE), int(Opcode.BLOCK), int(Opcode.UNBLOCK)
_MICROTHREAD = int(ChannelKind.MICROTHREAD)
_UNBLOCK_COMMAND_STREAM = int(Opcode.UNBLOCK_COMMAND_STREAM)
_COORDINATE, _FIFO_SET_LENGTH = int(Opcode.COORDINATE), int(Opcode.FIFO_SET_LENGTH)
_TIMESTAMP, _TIMESTAMP_CONTROL = int(Opcode.TIMESTAMP), int(Opcode.TIMESTAMP_CONTROL)
_MAP_BEGIN, _MAP_WRITE = int(Opcode.MAP_BEGIN), int(Opcode.MAP_WRITE)
_MAP_STEP = int(Opcode.MAP_STEP)
_COUNTER_MASK = (1 << 48) - 1
_COUNTER_STOP, _COUNTER_START, _COUNTER_RESET = range(3)
_WORD, _UPPER, _HALF = 0xFFFF_FFFF, 0xFFFF_0000, 0xFFFF


@shared
def attend(s: Arrays, block: int, cycle: int, until: int) -> None:
    """Advance all but the data path to `cycle`; the main thread may run ahead to `until`."""
    pe = s.arena[block + f.BLOCK_PE]
    s.arena[block + f.BLOCK_ATTENTION] = f.FAR
    settle(s, block)
    settle_path(s, block, cycle)
    if s.arena[block + f.BLOCK_IS_CONTENDED] & f.IS_ASKED:
        tell_empty_queues(s, block)
    if s.pes[pe, f.PE_MAIN] == f.STALLED:
        retry_issue(s, block, cycle)
    if s.pes[pe, f.PE_MAIN] == f.IDLE:
        pick(s, block, cycle)
    num_left = _MOST_TASKS
    while s.pes[pe, f.PE_MAIN] == f.RUNNING:
        s.pes[pe, f.PE_LIMIT] = cycle if s.arena[block + f.BLOCK_LIVE] else max(cycle, until - 1)
        run_main(s, block, cycle)
        num_left -= 1
        if num_left == 0 or not can_pick_ahead(s, block, until):
            break
        s.arena[block + f.BLOCK_ATTENTION] = f.FAR
        s.arena[block + f.BLOCK_ELEMENT_WAKE] = f.FAR
        pick(s, block, s.pes[pe, f.PE_MAIN_FREE])
    arm(s, block, cycle)
    find_lone_operation(s, block)


@kernel
def can_pick_ahead(s: Arrays, block: int, until: int) -> bool:
    """Tell whether the next task can be picked ahead of the clock.

    It can if no operation is live and no wavelet starts a task. The PE then stays in the caches,
    which halves the time of short tasks.
    """
    pe = s.arena[block + f.BLOCK_PE]
    program = s.pes[pe, f.PE_PROGRAM]
    return (
        s.pes[pe, f.PE_MAIN] == f.IDLE
        and s.pes[pe, f.PE_MAIN_FREE] < until
        and s.arena[block + f.BLOCK_LIVE] == 0
        and s.programs[program, f.PROGRAM_IS_WOKEN] == 0
        and s.programs[program, f.PROGRAM_CONTROL_TASKS] == f.NONE
        and not s.clock[f.IS_RECORDING]
        and not s.clock[f.FAULT]
    )


@merged
def run_main(s: Arrays, block: int, now: int) -> None:
    """Execute instructions up to the limit, or until the main thread stops."""
    pe = s.arena[block + f.BLOCK_PE]
    cycle = s.pes[pe, f.PE_MAIN_NEXT]
    first = s.programs[s.pes[pe, f.PE_PROGRAM], f.PROGRAM_CODE]
    last_event = s.clock[f.NUM_EVENTS] + MAIN_THREAD_EVENTS
    num_left = MAX_INSTRUCTIONS
    while cycle <= s.pes[pe, f.PE_LIMIT] and num_left > 0 and s.clock[f.NUM_EVENTS] < last_event:
        pc = s.pes[pe, f.PE_PC]
        s.pes[pe, f.PE_PC] = pc + 1
        row = first + pc
        following = execute(s, block, pe, row, cycle)
        if s.clock[f.FAULT] == f.MEMORY_FAULT and touch_register(s, block, pe, row, now, cycle):
            s.pes[pe, f.PE_PC] = pc
            break
        if s.clock[f.FAULT]:
            if s.clock[f.FAULT_PE] == f.NONE:
                place_fault(s, pe, pc, cycle)
            return
        if s.pes[pe, f.PE_MAIN] == f.STALLED:
            note(s, cycle)
            return
        s.pes[pe, f.PE_INSTRUCTIONS] += 1
        if s.pes[pe, f.PE_MAIN] != f.RUNNING:
            note(s, cycle)
            s.pes[pe, f.PE_MAIN_CYCLES] += s.code[row, f.CODE_CYCLES]
            return
        s.pes[pe, f.PE_MAIN_CYCLES] += following - cycle
        cycle = following
        num_left -= 1
    s.clock[f.BUDGET] -= MAX_INSTRUCTIONS - num_left
    s.pes[pe, f.PE_MAIN_NEXT] = cycle
    note(s, cycle)
    wake_attention(s, block, cycle)


@shared
def touch_register(s: Arrays, block: int, pe: int, row: int, now: int, cycle: int) -> bool:
    """Handle an access beyond the memory: an access to a register, or a fault (M131, M132).

    Return True if the access is too early: the main thread is ahead of the clock.
    """
    opcode = s.code[row, f.CODE_OPCODE] & f.KIND_MASK
    register = find_register(s, pe, s.clock[f.FAULT_DETAIL], s.clock[f.FAULT_OTHER])
    if register == f.NONE or (opcode != _LOAD and opcode != _STORE):
        return False
    s.clock[f.FAULT] = f.NO_FAULT
    if cycle > now:
        return True
    if opcode == _STORE:
        word = stored_word(s, pe, row)
        write_register(s, block, register, word & _HALF, cycle)
        return False
    word = read_register(s, block, register, cycle)
    if s.code[row, f.CODE_TYPE] == _I16:
        word = ((word ^ 0x8000) - 0x8000) & _WORD
    s.registers[pe, s.code[row, f.CODE_RD]] = word
    return False


@merged
def execute(s: Arrays, block: int, pe: int, row: int, cycle: int) -> int:
    """Execute an instruction that issues in `cycle`; return when the next one may issue."""
    opcode = s.code[row, f.CODE_OPCODE]
    imm = s.code[row, f.CODE_IMM]
    patch = s.code[row, f.CODE_PATCH]
    if patch >= 0:
        imm = s.patches[s.pes[pe, f.PE_PATCHES] + patch]
    if opcode < _LOAD_IMMEDIATE:
        return execute_control(s, block, pe, row, opcode, imm, cycle)
    following = cycle + s.code[row, f.CODE_CYCLES]
    if opcode >= f.CONDITIONAL:
        if not holds(s, pe, s.code[row, f.CODE_RC]):
            return following
        opcode -= f.CONDITIONAL
    if opcode < _DSD_SET_BASE:
        execute_arithmetic(s, pe, row, opcode, imm)
    elif opcode < _DSR_LOAD:
        update_dsd(s, pe, row, opcode, imm)
    elif opcode == _DSR_LOAD:
        ra = s.code[row, f.CODE_RA]
        saves = SAVES_ADDRESS if imm else 0
        high = int64(s.registers[pe, ra + 1]) | saves
        load_dsr(s, pe, row, int64(s.registers[pe, ra]), high)
    elif opcode == _DSR_LOAD_CONSTANT:
        load_dsr(s, pe, row, imm & _WORD, s.code[row, f.CODE_AUX] & _WORD)
    elif opcode == _DSD:
        return issue(s, block, row, imm, cycle)
    elif opcode == _TIMESTAMP:
        issued = max(cycle, s.pes[pe, f.PE_RESULT_END] + s.timing[f.T_TIMESTAMP_DRAIN])
        read = issued + s.timing[f.T_TIMESTAMP_WAIT]
        store_counter(s, block, pe, int64(s.registers[pe, s.code[row, f.CODE_RA]]), imm, read)
        following += issued - cycle
    elif opcode == _PRINT:
        print_value(s, block, pe, row, imm, cycle)
    elif opcode == _FIFO_SET_LENGTH:
        s.fifo_lengths[pe, imm] = int64(s.registers[pe, s.code[row, f.CODE_RA]]) & _HALF
    elif opcode >= f.CHECKED:
        execute_checked(s, pe, row, imm)
    elif opcode >= _MAP_BEGIN:
        execute_map(s, pe, row, opcode, imm)
    else:
        execute_machine(s, block, pe, row, opcode, imm, cycle)
    return following


@kernel
def holds(s: Arrays, pe: int, condition: int) -> bool:
    """Tell whether the condition of an instruction holds (M153)."""
    return (s.registers[pe, abs(condition)] != 0) == (condition > 0)


@kernel
def execute_control(
    s: Arrays, block: int, pe: int, row: int, opcode: int, imm: int, cycle: int
) -> int:
    """Execute an instruction that changes the program counter, or may stop the program."""
    following = cycle + s.code[row, f.CODE_CYCLES]
    if opcode == _BRANCH_ZERO or opcode == _BRANCH_NONZERO:
        is_zero = s.registers[pe, s.code[row, f.CODE_RA]] == 0
        if is_zero == (opcode == _BRANCH_ZERO):
            s.pes[pe, f.PE_PC] = imm
            return cycle + s.timing[f.T_BRANCH_TAKEN]
    elif opcode == _JUMP:
        s.pes[pe, f.PE_PC] = imm
    elif opcode == _CALL:
        depth = s.pes[pe, f.PE_RETURN_DEPTH]
        if depth == RETURN_STACK_DEPTH:
            s.clock[f.FAULT] = f.CALL_FAULT
            return following
        s.return_stacks[pe, depth] = s.pes[pe, f.PE_PC]
        s.pes[pe, f.PE_RETURN_DEPTH] = depth + 1
        s.pes[pe, f.PE_PC] = imm
    elif opcode == _TRAP:
        if s.registers[pe, s.code[row, f.CODE_RA]] == 0:
            s.clock[f.FAULT] = f.TRAP_FAULT
            s.clock[f.FAULT_DETAIL] = imm
    elif opcode == _RETURN and s.pes[pe, f.PE_RETURN_DEPTH] > 0:
        depth = s.pes[pe, f.PE_RETURN_DEPTH] - 1
        s.pes[pe, f.PE_RETURN_DEPTH] = depth
        s.pes[pe, f.PE_PC] = s.return_stacks[pe, depth]
    else:
        end_task(s, block, pe, following)
    return following


@kernel
def end_task(s: Arrays, block: int, pe: int, cycle: int) -> None:
    """End the task: the picker may start another one from `cycle` on."""
    s.pes[pe, f.PE_MAIN] = f.IDLE
    s.pes[pe, f.PE_MAIN_FREE] = cycle
    note(s, cycle)
    wake_attention(s, block, cycle)


@kernel
def execute_arithmetic(s: Arrays, pe: int, row: int, opcode: int, imm: int) -> None:
    """Execute an instruction on registers and memory words."""
    kind: int = s.code[row, f.CODE_TYPE]
    rd = s.code[row, f.CODE_RD]
    a = int64(s.registers[pe, s.code[row, f.CODE_RA]])
    if opcode == _LOAD_IMMEDIATE:
        s.registers[pe, rd] = imm & _WORD
    elif opcode == _MOVE:
        s.registers[pe, rd] = a
    elif opcode == _LOAD:
        load(s, pe, rd, a + imm, kind)
    elif opcode == _STORE:
        write(s, pe, a + imm, stored_word(s, pe, row), _TYPE_BYTES[kind])
    elif opcode == _CONVERT:
        s.registers[pe, rd] = convert(kind, imm, a)
    elif opcode == _NEG or opcode == _NOT:
        s.registers[pe, rd] = compute_unary(opcode, kind, a)
    else:
        b = int64(s.registers[pe, s.code[row, f.CODE_RB]]) | (imm & _WORD)
        s.registers[pe, rd] = compute_binary(opcode, kind, a, b)


@kernel
def stored_word(s: Arrays, pe: int, row: int) -> int:
    """Return the word that a STORE writes: a register or, for register 0, the immediate."""
    return int64(s.registers[pe, s.code[row, f.CODE_RB]]) | (s.code[row, f.CODE_AUX] & _WORD)


@kernel
def update_dsd(s: Arrays, pe: int, row: int, opcode: int, imm: int) -> None:
    """Change a field of a DSD value in a pair of registers."""
    ra = s.code[row, f.CODE_RA]
    rd = s.code[row, f.CODE_RD]
    low = int64(s.registers[pe, ra])
    high = int64(s.registers[pe, ra + 1])
    value = int64(s.registers[pe, s.code[row, f.CODE_RB]]) & _HALF
    if opcode == _DSD_SET_BASE:
        low = low & _UPPER | value
    elif opcode == _DSD_SET_LENGTH:
        low = low & _HALF | value << 16
    elif opcode == _DSD_SET_STRIDE:
        high = high & _UPPER | value
    else:
        offset = ((value ^ 0x8000) - 0x8000) * imm
        low = low & _UPPER | (low + offset) & _HALF
    s.registers[pe, rd] = low
    s.registers[pe, rd + 1] = high


@kernel
def load_dsr(s: Arrays, pe: int, row: int, low: int, high: int) -> None:
    """Put a DSD value into the DSR that an instruction names."""
    encoded = s.code[row, f.CODE_RD]
    file = (encoded >> 16) - _DSR_DEST
    s.dsrs[pe, file, encoded & _HALF, 0] = low
    s.dsrs[pe, file, encoded & _HALF, 1] = high


@shared
def execute_map(s: Arrays, pe: int, row: int, opcode: int, imm: int) -> None:
    """Execute an instruction of a map loop (M120, M121)."""
    ra = s.code[row, f.CODE_RA]
    low = int64(s.registers[pe, ra])
    if opcode == _MAP_BEGIN:
        if low == 0:
            s.pes[pe, f.PE_PC] = imm
        return
    if opcode == _MAP_STEP:
        left = (low - 1) & _WORD
        s.registers[pe, ra] = left
        if left:
            s.pes[pe, f.PE_PC] = imm
        return
    kind: int = s.code[row, f.CODE_TYPE]
    word = int64(s.registers[pe, s.code[row, f.CODE_RB]])
    stride = ((int64(s.registers[pe, ra + 1]) & _HALF) ^ 0x8000) - 0x8000
    s.registers[pe, ra] = low & _UPPER | (low + stride * _TYPE_BYTES[kind]) & _HALF
    if opcode == _MAP_WRITE:
        write(s, pe, low & _HALF, word, _TYPE_BYTES[kind])
    else:
        load(s, pe, s.code[row, f.CODE_RD], low & _HALF, kind)


@kernel
def load(s: Arrays, pe: int, rd: int, address: int, kind: int) -> None:
    """Load a scalar from memory into a register, or note a fault."""
    word = read(s, pe, address, _TYPE_BYTES[kind])
    if kind == _I8:
        word = ((word ^ 0x80) - 0x80) & _WORD
    elif kind == _I16:
        word = ((word ^ 0x8000) - 0x8000) & _WORD
    if not s.clock[f.FAULT]:
        s.registers[pe, rd] = word


@kernel
def execute_machine(
    s: Arrays, block: int, pe: int, row: int, opcode: int, imm: int, cycle: int
) -> None:
    """Execute an instruction on tasks, the command stream, coordinates or the cycle counter."""
    if opcode == _ACTIVATE:
        activate(s, pe, imm, row, cycle)
    elif opcode == _BLOCK or opcode == _UNBLOCK:
        set_blocked(s, pe, imm, opcode == _BLOCK)
        if opcode == _BLOCK and imm >> 8 == _MICROTHREAD:
            hold(s, block, cycle)
    elif opcode == _UNBLOCK_COMMAND_STREAM:
        s.blocked_streams[pe] = 0
        record(s, cycle, block, _STREAM_UNBLOCKED, 0, 0)
    elif opcode == _COORDINATE:
        s.registers[pe, s.code[row, f.CODE_RD]] = s.pes[pe, f.PE_Y] if imm else s.pes[pe, f.PE_X]
    else:
        control_counter(s, pe, imm, cycle)


@kernel
def print_value(s: Arrays, block: int, pe: int, row: int, form: int, cycle: int) -> None:
    """Execute PRINT."""
    value = (
        s.code[row, f.CODE_AUX] if form == _TEXT else int64(s.registers[pe, s.code[row, f.CODE_RA]])
    )
    record(s, cycle, block, _PRINT_EVENT, form | s.code[row, f.CODE_TYPE] << 8, value & _WORD)


@kernel
def read_counter(s: Arrays, pe: int, cycle: int) -> int:
    """Return the 48-bit count in `cycle` (M22)."""
    started = s.pes[pe, f.PE_COUNTER_START]
    count = s.pes[pe, f.PE_COUNTER_HELD] if started == f.NEVER else cycle - started
    return count & _COUNTER_MASK


@kernel
def store_counter(
    s: Arrays, block: int, pe: int, address: int, since_loading: int, cycle: int
) -> None:
    """Execute TIMESTAMP."""
    value = s.clock[f.BASE] + cycle if since_loading else read_counter(s, pe, cycle)
    for i in range(3):
        write(s, pe, address + 2 * i, value >> (16 * i) & _HALF, 2)
    if not s.clock[f.FAULT]:
        record(s, cycle, block, _TIMESTAMP_EVENT, address, value)


@kernel
def control_counter(s: Arrays, pe: int, mode: int, cycle: int) -> None:
    """Execute TIMESTAMP_CONTROL."""
    if mode == _COUNTER_STOP:
        s.pes[pe, f.PE_COUNTER_HELD] = read_counter(s, pe, cycle)
        s.pes[pe, f.PE_COUNTER_START] = f.NEVER
    elif mode == _COUNTER_START:
        s.pes[pe, f.PE_COUNTER_START] = cycle
    elif mode == _COUNTER_RESET:
        s.pes[pe, f.PE_COUNTER_HELD] = 0
        if s.pes[pe, f.PE_COUNTER_START] != f.NEVER:
            s.pes[pe, f.PE_COUNTER_START] = cycle


@kernel
def slot_of_config(s: Arrays, pe: int, config: int) -> int:
    """Return the index, in the PE, of the thread that a configuration names."""
    if config >= 0:
        return s.configs[config, f.CONFIG_SLOT]
    return s.pes[pe, f.PE_NUM_OPERATIONS] - 1


@kernel
def config_of(s: Arrays, pe: int, imm: int) -> int:
    """Return the row of the configuration that a DSD instruction names, NONE: synchronous."""
    return s.programs[s.pes[pe, f.PE_PROGRAM], f.PROGRAM_CONFIGS] + imm if imm >= 0 else f.NONE


@kernel
def issue(s: Arrays, block: int, row: int, imm: int, cycle: int) -> int:
    """Issue a DSD operation (M30, M31, M38); as `execute`, or stop the main thread."""
    pe = s.arena[block + f.BLOCK_PE]
    config = config_of(s, pe, imm)
    slot = slot_of_config(s, pe, config)
    if config >= 0 and s.arena[block + f.BLOCK_LIVE] >> slot & 1:
        if s.clock[f.IS_STRICT]:
            s.clock[f.FAULT] = f.BUSY_FAULT
            s.clock[f.FAULT_DETAIL] = s.arena[block + f.BLOCK_OPERATIONS] + f.NUM_OP_WORDS * slot
            return cycle
        note_finding(s, _BUSY_MICROTHREAD, row, pe, cycle)
        s.pes[pe, f.PE_PC] -= 1
        s.pes[pe, f.PE_MAIN] = f.STALLED
        s.pes[pe, f.PE_STALLED_SINCE] = cycle
        return cycle
    op = s.arena[block + f.BLOCK_OPERATIONS] + f.NUM_OP_WORDS * slot
    prepare(s, pe, row, config, op, cycle)
    following = cycle + s.code[row, f.CODE_CYCLES]
    if s.clock[f.FAULT]:
        return following
    if config >= 0:
        start(s, block, op)
        s.pes[pe, f.PE_LIMIT] = cycle
        return following
    begins = s.operations[s.arena[op + f.OP_ROW], f.OPS_START]
    resume = s.operations[s.arena[op + f.OP_ROW], f.OPS_RESUME]
    resumed = begins + s.arena[op + f.OP_REMAINING] + resume
    is_alone = s.arena[block + f.BLOCK_LIVE] == 0 and s.arena[block + f.BLOCK_PATH_FREE] <= begins
    if is_alone and not s.arena[op + f.OP_STEPS] and resumed <= s.pes[pe, f.PE_LIMIT]:
        run_alone(s, block, op)
        s.pes[pe, f.PE_RESULT_END] = begins + s.arena[op + f.OP_REMAINING]
        s.pes[pe, f.PE_MAIN_CYCLES] -= resumed - following
        return resumed
    s.pes[pe, f.PE_MAIN] = f.WAITING
    start(s, block, op)
    return following


@kernel
def retry_issue(s: Arrays, block: int, cycle: int) -> None:
    """Resume the main thread if the microthread that it waits for is free (M38)."""
    pe = s.arena[block + f.BLOCK_PE]
    row = s.programs[s.pes[pe, f.PE_PROGRAM], f.PROGRAM_CODE] + s.pes[pe, f.PE_PC]
    imm = s.code[row, f.CODE_IMM]
    patch = s.code[row, f.CODE_PATCH]
    if patch >= 0:
        imm = s.patches[s.pes[pe, f.PE_PATCHES] + patch]
    slot = slot_of_config(s, pe, config_of(s, pe, imm))
    if s.arena[block + f.BLOCK_LIVE] >> slot & 1 == 0:
        since = s.pes[pe, f.PE_STALLED_SINCE]
        s.pes[pe, f.PE_STALLS + _MICROTHREAD_BUSY] += cycle - since
        s.pes[pe, f.PE_MAIN] = f.RUNNING
        s.pes[pe, f.PE_MAIN_NEXT] = cycle
