"""The data path of a PE and the DSD operations that share it (M12, M30–M39).

The loop calls `serve` for every element. Code that runs once per operation is compiled as separate
functions (`shared`), and called from `BLOCK_ATTENTION` on (see `main_thread.attend`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.image import FifoAction
from onewafer.simulator.fast.kernels.bookkeeping.agenda import note, wake_attention, wake_element
from onewafer.simulator.fast.kernels.bookkeeping.recording import record
from onewafer.simulator.fast.kernels.compute_element.computing import perform
from onewafer.simulator.fast.kernels.compute_element.elements import (
    execute,
    finish,
    note_stall,
    place_fault,
    slot_of,
)
from onewafer.simulator.fast.kernels.compute_element.exceptions import kind_of
from onewafer.simulator.fast.kernels.compute_element.operation import ends_on_control, set_result
from onewafer.simulator.fast.kernels.compute_element.rings import (
    claim_rings,
    keep_remaining,
    lacking_ring,
    note_lack,
    release_rings,
)
from onewafer.simulator.fast.kernels.compute_element.tasks import control_arrived, operation_ended
from onewafer.simulator.fast.kernels.compute_element.watched import serve_watched
from onewafer.simulator.fast.kernels.fabric.fifo import ready_cycle, room_cycle
from onewafer.simulator.fast.kernels.fabric.marks import is_control_next
from onewafer.simulator.fast.machine_code.compilation import kernel, merged, shared
from onewafer.simulator.fast.machine_code.native import trailing_zeros
from onewafer.simulator.fast.state import fields as f
from onewafer.simulator.fast.state.arrays import int64
from onewafer.simulator.state.schema import FIRST_THREAD
from onewafer.simulator.state.statistics import StallReason
from onewafer.trace import EventKind

if TYPE_CHECKING:
    from onewafer.simulator.fast.state.arrays import Arrays

_INPUT_EMPTY = int(StallReason.INPUT_EMPTY)
_OUTPUT_FULL = int(StallReason.OUTPUT_FULL)
_DATA_PATH, _FIFO = int(StallReason.DATA_PATH), int(StallReason.FIFO)
_TEST_OR_SUSPEND, _TERMINATE = int(FifoAction.TEST_OR_SUSPEND), int(FifoAction.TERMINATE)
_FAULT = int(FifoAction.FAULT)
_ENDED = -2
"""Pseudo stall reason: the operation ends instead of waiting."""
_DSD_START, _DSD_END = int(EventKind.DSD_START), int(EventKind.DSD_END)


# --- every element -------------------------------------------------------------------------------


@merged
def serve(s: Arrays, block: int, cycle: int) -> None:
    """Give the data path to one operation (M34)."""
    armed = s.arena[block + f.BLOCK_ARMED]
    if armed == 0:
        return
    if s.arena[block + f.BLOCK_PATH_FREE] > cycle:
        wake_element(s, block, s.arena[block + f.BLOCK_PATH_FREE])
        return
    first = s.arena[block + f.BLOCK_OPERATIONS]
    winner = 0
    others = 0
    while armed:
        slot = trailing_zeros(armed)
        armed &= armed - 1
        op = first + f.NUM_OP_WORDS * slot
        if s.arena[op + f.OP_STEPS]:
            reason = obstacle_of(s, block, op, cycle)
            if reason != f.NONE:
                if s.clock[f.FAULT]:
                    return
                if reason != _ENDED:
                    note_stall(s, block, op, cycle, reason)
                continue
        if winner == 0:
            winner = op
        elif is_preferred(s, op, winner):
            others |= 1 << (winner - first) // f.NUM_OP_WORDS
            winner = op
        else:
            others |= 1 << slot
    if winner == 0:
        return
    note_stall(s, block, winner, cycle, f.NONE)
    is_alone = True
    while others:
        op = first + f.NUM_OP_WORDS * trailing_zeros(others)
        others &= others - 1
        note_stall(s, block, op, cycle, _DATA_PATH)
        if s.arena[op + f.OP_RANK] >= s.arena[winner + f.OP_RANK]:
            is_alone = False
    if s.arena[winner + f.OP_STEPS] & f.WATCHED:
        serve_watched(s, block, winner, cycle)
    elif s.arena[winner + f.OP_STEPS]:
        execute(s, block, winner, cycle, cycle + 1, 1)
        wake_element(s, block, s.arena[block + f.BLOCK_PATH_FREE])
    else:
        serve_memory(s, block, winner, cycle, is_alone)


@kernel
def is_preferred(s: Arrays, op: int, other: int) -> bool:
    """Tell whether an operation is served before one on a lower thread (M34)."""
    if s.arena[op + f.OP_RANK] != s.arena[other + f.OP_RANK]:
        return s.arena[op + f.OP_RANK] > s.arena[other + f.OP_RANK]
    return s.arena[op + f.OP_LAST_SERVED] < s.arena[other + f.OP_LAST_SERVED]


@kernel
def obstacle_of(s: Arrays, block: int, op: int, cycle: int) -> int:
    """Return the stall reason of an operation with a fabric operand, or NONE (M33)."""
    if s.arena[op + f.OP_STEPS] & f.WATCHED:
        reason = special_obstacle_of(s, block, op, cycle)
        if reason != f.NONE:
            return reason
    for at in (f.OP_SRC0, f.OP_SRC1):
        if s.arena[op + at + f.OPERAND_KIND] == f.INPUT:
            channel = s.arena[op + at + f.OPERAND_BASE]
            ready = ready_cycle(s, channel)
            if ready > cycle:
                wake_element(s, block, ready)
                return _INPUT_EMPTY
    if s.arena[op + f.OP_DEST + f.OPERAND_KIND] == f.OUTPUT:
        source = s.arena[op + f.OP_DEST + f.OPERAND_BASE]
        room = room_cycle(s, source, 1)
        if room > cycle:
            if room == f.FAR:
                s.arena[source + f.FIFO_STATE] |= f.IS_AWAITED
            wake_element(s, block, room)
            return _OUTPUT_FULL
    return f.NONE


@shared
def special_obstacle_of(s: Arrays, block: int, op: int, cycle: int) -> int:
    """Return a stall by a ring, or `_ENDED` if a control wavelet ends it (M98, M111)."""
    ring = lacking_ring(s, op)
    ends = ends_on_control(s, op) and meets_control(s, block, op, cycle)
    if not ends and ring != f.NONE:
        ends = act_on_lack(s, block, op, ring, cycle)
    if ends:
        note_stall(s, block, op, cycle, f.NONE)
        finish(s, block, op, cycle + 1)
        wake_attention(s, block, cycle + 1)
        return _ENDED
    return f.NONE if ring == f.NONE else _FIFO


@kernel
def meets_control(s: Arrays, block: int, op: int, cycle: int) -> bool:
    """Handle a control wavelet that ends an operation (M98); tell whether there was one."""
    for at in (f.OP_SRC0, f.OP_SRC1):
        if s.arena[op + at + f.OPERAND_KIND] != f.INPUT:
            continue
        channel = s.arena[op + at + f.OPERAND_BASE]
        ready = ready_cycle(s, channel)
        if ready == f.FAR or not is_control_next(s, channel):
            continue
        if ready > cycle:
            wake_element(s, block, ready)
            continue
        control_arrived(s, block, op, cycle)
        return True
    return False


@kernel
def act_on_lack(s: Arrays, block: int, op: int, ring: int, cycle: int) -> bool:
    """Handle an empty or full ring; tell whether the operation ends (M112)."""
    action = note_lack(s, ring)
    if action == _FAULT:
        pe = s.arena[block + f.BLOCK_PE]
        s.clock[f.FAULT] = f.LACK_FAULT
        s.clock[f.FAULT_DETAIL] = ring - s.pes[pe, f.PE_RINGS]
        s.clock[f.FAULT_OTHER] = s.rings[ring, f.RINGS_COUNT] == 0
        place_fault(s, pe, s.arena[op + f.OP_PC], cycle)
        return False
    is_tested = action == _TEST_OR_SUSPEND and s.arena[op + f.OP_CONFIG] == f.NONE
    if is_tested:
        set_result(s, s.arena[block + f.BLOCK_PE], s.arena[op + f.OP_PC], 0)
    ends = is_tested or action == _TERMINATE
    if ends and s.arena[op + f.OP_CONFIG] == f.NONE:
        keep_remaining(s, s.arena[block + f.BLOCK_PE], op, ring)
    return ends


@kernel
def find_lone_operation(s: Arrays, block: int) -> None:
    """Note the operation that may run ahead of the clock, since it has no competitor.

    It is the only live operation, and the main thread waits for it, or is idle and no wavelet can
    start a task.
    """
    lone = 0
    live = s.arena[block + f.BLOCK_LIVE]
    if live and live & (live - 1) == 0 and live == s.arena[block + f.BLOCK_ARMED]:
        pe = s.arena[block + f.BLOCK_PE]
        main = s.pes[pe, f.PE_MAIN]
        op = s.arena[block + f.BLOCK_OPERATIONS] + f.NUM_OP_WORDS * trailing_zeros(live)
        is_quiet = s.arena[block + f.BLOCK_ATTENTION] == f.FAR and main != f.RUNNING
        if main == f.IDLE and s.programs[s.pes[pe, f.PE_PROGRAM], f.PROGRAM_IS_WOKEN]:
            is_quiet = False
        if s.programs[s.pes[pe, f.PE_PROGRAM], f.PROGRAM_CONTROL_TASKS] != f.NONE:
            is_quiet = False
        if s.programs[s.pes[pe, f.PE_PROGRAM], f.PROGRAM_HAS_QUEUES]:
            is_quiet = False
        if is_quiet and s.arena[op + f.OP_STEPS] == f.STEPWISE:
            lone = op
    s.arena[block + f.BLOCK_LONE] = lone


# --- once an operation ---------------------------------------------------------------------------


@kernel
def start(s: Arrays, block: int, op: int) -> None:
    """Put a prepared operation on its thread, or note the fault of a second user (M45)."""
    s.arena[block + f.BLOCK_LIVE] |= 1 << slot_of(s, block, op)
    claim_channel(s, op, f.OP_SRC0)
    claim_channel(s, op, f.OP_SRC1)
    if s.arena[op + f.OP_DEST + f.OPERAND_KIND] == f.OUTPUT and not s.clock[f.FAULT]:
        row = s.arena[s.arena[op + f.OP_DEST + f.OPERAND_BASE] + f.FIFO_ROW]
        writer = s.fifos[row, f.FIFOS_WRITER]
        if writer != f.NONE:
            s.clock[f.FAULT] = f.WRITER_FAULT
            s.clock[f.FAULT_DETAIL] = writer
            s.clock[f.FAULT_OTHER] = row
        s.fifos[row, f.FIFOS_WRITER] = op
    if s.arena[op + f.OP_STEPS] & f.WATCHED:
        claim_rings(s, s.arena[block + f.BLOCK_PE], op)
    wake_attention(s, block, s.operations[s.arena[op + f.OP_ROW], f.OPS_START])


@kernel
def claim_channel(s: Arrays, op: int, at: int) -> None:
    """Make an operation the reader of the channel of an operand, if it has one."""
    if s.arena[op + at + f.OPERAND_KIND] != f.INPUT or s.clock[f.FAULT]:
        return
    channel = s.arena[op + at + f.OPERAND_BASE]
    reader = s.arena[channel + f.FIFO_READER]
    if reader:
        s.clock[f.FAULT] = f.READER_FAULT
        s.clock[f.FAULT_DETAIL] = reader
        s.clock[f.FAULT_OTHER] = s.arena[channel + f.FIFO_ROW]
    s.arena[channel + f.FIFO_READER] = op


@kernel
def arm(s: Arrays, block: int, cycle: int) -> None:
    """Make operations whose set-up is complete ready for the data path (M30)."""
    waiting = s.arena[block + f.BLOCK_LIVE] & ~s.arena[block + f.BLOCK_ARMED]
    while waiting:
        slot = trailing_zeros(waiting)
        waiting &= waiting - 1
        op = s.arena[block + f.BLOCK_OPERATIONS] + f.NUM_OP_WORDS * slot
        begins = s.operations[s.arena[op + f.OP_ROW], f.OPS_START]
        if s.arena[op + f.OP_FINISH] < f.FAR:
            wake_attention(s, block, s.arena[op + f.OP_FINISH])
        elif is_held(s, block, op):
            pass  # until something unblocks its microthread
        elif begins <= cycle:
            s.arena[block + f.BLOCK_ARMED] |= 1 << slot
        else:
            wake_attention(s, block, begins)


@kernel
def is_held(s: Arrays, block: int, op: int) -> bool:
    """Tell whether an operation is held by its blocked microthread (M146)."""
    thread = s.operations[s.arena[op + f.OP_ROW], f.OPS_THREAD]
    if int64(s.blocked_colors[s.arena[block + f.BLOCK_PE]]) >> FIRST_THREAD >> thread & 1 == 0:
        return False
    return s.arena[op + f.OP_STEPS] != 0 or s.arena[op + f.OP_HAS_STARTED] == 0


@kernel
def hold(s: Arrays, block: int, cycle: int) -> None:
    """Keep operations with a blocked microthread from the data path."""
    armed = s.arena[block + f.BLOCK_ARMED]
    while armed:
        slot = trailing_zeros(armed)
        armed &= armed - 1
        op = s.arena[block + f.BLOCK_OPERATIONS] + f.NUM_OP_WORDS * slot
        if is_held(s, block, op):
            note_stall(s, block, op, cycle, f.NONE)
            s.arena[block + f.BLOCK_ARMED] &= ~(1 << slot)


@kernel
def run_alone(s: Arrays, block: int, op: int) -> None:
    """Run a memory-only operation without competitors to its end."""
    row = s.arena[op + f.OP_ROW]
    begins = s.operations[row, f.OPS_START]
    begin(s, block, op, begins)
    if s.clock[f.FAULT]:
        return
    end = begins + s.arena[op + f.OP_REMAINING]
    count_path_cycles(s, block, s.arena[op + f.OP_REMAINING])
    record(s, end, block, _DSD_END, s.operations[row, f.OPS_THREAD], kind_of(s, op))
    note(s, end)


@kernel
def count_path_cycles(s: Arrays, block: int, cycles: int) -> None:
    """Count cycles of memory-only operations, which may lie far ahead of the clock."""
    s.pes[s.arena[block + f.BLOCK_PE], f.PE_PATH_CYCLES] += cycles


@shared
def begin(s: Arrays, block: int, op: int, cycle: int) -> None:
    """Note the first element; a memory-only operation executes all of its elements now (M12)."""
    s.arena[op + f.OP_HAS_STARTED] = 1
    thread = s.operations[s.arena[op + f.OP_ROW], f.OPS_THREAD]
    record(s, cycle, block, _DSD_START, thread, kind_of(s, op))
    if s.arena[op + f.OP_STEPS]:
        return
    pe = s.arena[block + f.BLOCK_PE]
    perform(s, pe, op)
    if s.clock[f.FAULT]:
        place_fault(s, pe, s.arena[op + f.OP_PC], cycle)
        return
    s.pes[pe, f.PE_ELEMENTS] += s.arena[op + f.OP_LENGTH]


@shared
def serve_memory(s: Arrays, block: int, op: int, cycle: int, is_alone: bool) -> None:
    """Run a memory-only operation: to its end if it is alone, else for one cycle."""
    if s.arena[op + f.OP_HAS_STARTED] == 0:
        begin(s, block, op, cycle)
        if s.clock[f.FAULT]:
            return
    if is_alone:
        pe = s.arena[block + f.BLOCK_PE]
        s.pes[pe, f.PE_BULK] = op
        s.pes[pe, f.PE_BULK_SINCE] = cycle
        s.arena[block + f.BLOCK_ATTENTION] = f.LONG_AGO  # whoever looks first settles the path
        wake_element(s, block, cycle + s.arena[op + f.OP_REMAINING])
        return
    s.arena[op + f.OP_REMAINING] -= 1
    s.arena[op + f.OP_LAST_SERVED] = cycle
    count_path_cycles(s, block, 1)
    s.arena[block + f.BLOCK_PATH_FREE] = cycle + 1
    if s.arena[op + f.OP_REMAINING] == 0:
        finish(s, block, op, cycle + 1)
        wake_attention(s, block, cycle + 1)
    wake_element(s, block, cycle + 1)


@kernel
def settle_path(s: Arrays, block: int, cycle: int) -> None:
    """Account for memory-only operations since the last visit, and end finished ones."""
    pe = s.arena[block + f.BLOCK_PE]
    bulk = s.pes[pe, f.PE_BULK]
    if bulk != f.NONE and cycle > s.pes[pe, f.PE_BULK_SINCE]:
        served = cycle - s.pes[pe, f.PE_BULK_SINCE]
        s.arena[bulk + f.OP_REMAINING] -= served
        s.arena[bulk + f.OP_LAST_SERVED] = cycle - 1
        count_path_cycles(s, block, served)
        s.pes[pe, f.PE_BULK] = f.NONE
        if s.arena[bulk + f.OP_REMAINING] == 0:
            finish(s, block, bulk, cycle)
    live = s.arena[block + f.BLOCK_LIVE]
    while live:
        op = s.arena[block + f.BLOCK_OPERATIONS] + f.NUM_OP_WORDS * trailing_zeros(live)
        live &= live - 1
        if s.arena[op + f.OP_FINISH] <= cycle:
            end_operation(s, block, op)


@kernel
def end_operation(s: Arrays, block: int, op: int) -> None:
    """Free the thread, the channels and the queue, and notify the main thread or tasks."""
    s.arena[block + f.BLOCK_LIVE] &= ~(1 << slot_of(s, block, op))
    for at in (f.OP_SRC0, f.OP_SRC1):
        if s.arena[op + at + f.OPERAND_KIND] == f.INPUT:
            s.arena[s.arena[op + at + f.OPERAND_BASE] + f.FIFO_READER] = 0
    if s.arena[op + f.OP_DEST + f.OPERAND_KIND] == f.OUTPUT:
        s.fifos[s.arena[s.arena[op + f.OP_DEST + f.OPERAND_BASE] + f.FIFO_ROW], f.FIFOS_WRITER] = (
            f.NONE
        )
    if s.arena[op + f.OP_STEPS] & f.WATCHED:
        release_rings(s, op)
    end = s.arena[op + f.OP_FINISH]
    thread = s.operations[s.arena[op + f.OP_ROW], f.OPS_THREAD]
    record(s, end, block, _DSD_END, thread, kind_of(s, op))
    note(s, end)
    operation_ended(s, block, op, end)
