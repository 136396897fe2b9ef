"""The data path of a PE and the DSD operations that share it (M12, M30–M39)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.simulator.fast.agenda import note, schedule_element, schedule_router
from onewafer.simulator.fast.compilation import kernel
from onewafer.simulator.fast.fields import (
    CHANNEL_COUNT,
    CHANNEL_HEAD,
    CHANNEL_IS_AWAITED,
    CHANNEL_READER,
    CHANNEL_RING,
    FAULT,
    FAULT_CYCLE,
    FAULT_DETAIL,
    FAULT_OTHER,
    FAULT_PC,
    FAULT_PE,
    INPUT,
    NEVER,
    NONE,
    OP_COUNTED_TO,
    OP_DEST,
    OP_ELEMENT_CYCLES,
    OP_FINISH,
    OP_HAS_STARTED,
    OP_IS_ENDLESS,
    OP_IS_FABRIC,
    OP_IS_LIVE,
    OP_KIND,
    OP_LAST_SERVED,
    OP_LENGTH,
    OP_NEXT,
    OP_PC,
    OP_RANK,
    OP_REASON,
    OP_REMAINING,
    OP_SRC0,
    OP_SRC1,
    OP_START,
    OP_THREAD,
    OP_WAITING_SINCE,
    OPERAND_BASE,
    OPERAND_BYTES,
    OPERAND_DSD,
    OPERAND_KIND,
    OUTPUT,
    PE_BULK,
    PE_BULK_SINCE,
    PE_ELEMENTS,
    PE_NUM_LIVE,
    PE_NUM_OPERATIONS,
    PE_OPERATIONS,
    PE_PATH_CYCLES,
    PE_PATH_FREE,
    PE_STALLS,
    READER_FAULT,
    RING_READY,
    SOURCE_CAPACITY,
    SOURCE_COUNT,
    SOURCE_IS_AWAITED,
    SOURCE_WRITER,
    T_RAMP,
    WRITER_FAULT,
)
from onewafer.simulator.fast.operation import perform, step
from onewafer.simulator.fast.recording import record
from onewafer.simulator.fast.router import push
from onewafer.simulator.fast.tasks import operation_ended
from onewafer.simulator.statistics import StallReason
from onewafer.trace import EventKind

if TYPE_CHECKING:
    from onewafer.simulator.fast.arrays import Arrays

_INPUT_EMPTY = int(StallReason.INPUT_EMPTY)
_OUTPUT_FULL = int(StallReason.OUTPUT_FULL)
_DATA_PATH = int(StallReason.DATA_PATH)
_DSD_START, _DSD_END = int(EventKind.DSD_START), int(EventKind.DSD_END)


@kernel
def start(s: Arrays, pe: int, op: int) -> None:
    """Put a prepared operation on its thread, or note the fault of a second user (M45)."""
    s.operations[op, OP_IS_LIVE] = 1
    s.pes[pe, PE_NUM_LIVE] += 1
    claim_channel(s, op, OP_SRC0)
    claim_channel(s, op, OP_SRC1)
    if s.operations[op, OP_DEST + OPERAND_KIND] == OUTPUT and not s.clock[FAULT]:
        source = s.operations[op, OP_DEST + OPERAND_BASE]
        writer = s.sources[source, SOURCE_WRITER]
        if writer != NONE:
            s.clock[FAULT] = WRITER_FAULT
            s.clock[FAULT_DETAIL] = writer
            s.clock[FAULT_OTHER] = source
        s.sources[source, SOURCE_WRITER] = op
    schedule_element(s, pe, s.operations[op, OP_START])


@kernel
def claim_channel(s: Arrays, op: int, at: int) -> None:
    """Make an operation the reader of the channel of an operand, if it has one."""
    if s.operations[op, at + OPERAND_KIND] != INPUT or s.clock[FAULT]:
        return
    channel = s.operations[op, at + OPERAND_BASE]
    reader = s.channels[channel, CHANNEL_READER]
    if reader != NONE:
        s.clock[FAULT] = READER_FAULT
        s.clock[FAULT_DETAIL] = reader
        s.clock[FAULT_OTHER] = channel
    s.channels[channel, CHANNEL_READER] = op


@kernel
def run_alone(s: Arrays, pe: int, op: int) -> None:
    """Run a memory-only operation that nothing competes with."""
    begin(s, pe, op, s.operations[op, OP_START])
    if s.clock[FAULT]:
        return
    end = s.operations[op, OP_START] + s.operations[op, OP_REMAINING]
    s.pes[pe, PE_PATH_CYCLES] += s.operations[op, OP_REMAINING]
    record(s, end, pe, _DSD_END, s.operations[op, OP_THREAD], s.operations[op, OP_KIND])
    note(s, end)


@kernel
def begin(s: Arrays, pe: int, op: int, cycle: int) -> None:
    """Note the first element; a memory-only operation executes all of them now (M12)."""
    s.operations[op, OP_HAS_STARTED] = 1
    record(s, cycle, pe, _DSD_START, s.operations[op, OP_THREAD], s.operations[op, OP_KIND])
    if s.operations[op, OP_IS_FABRIC]:
        return
    perform(s, pe, op)
    if s.clock[FAULT]:
        place_fault(s, pe, s.operations[op, OP_PC], cycle)
        return
    s.pes[pe, PE_ELEMENTS] += s.operations[op, OP_LENGTH]


@kernel
def place_fault(s: Arrays, pe: int, pc: int, cycle: int) -> None:
    """Say where and when the fault is that was noted."""
    s.clock[FAULT_PE] = pe
    s.clock[FAULT_PC] = pc
    s.clock[FAULT_CYCLE] = cycle


@kernel
def settle_path(s: Arrays, pe: int, cycle: int) -> None:
    """Account for what ran since the last tick, and end what is over."""
    bulk = s.pes[pe, PE_BULK]
    if bulk != NONE and cycle > s.pes[pe, PE_BULK_SINCE]:
        served = cycle - s.pes[pe, PE_BULK_SINCE]
        s.operations[bulk, OP_REMAINING] -= served
        s.operations[bulk, OP_LAST_SERVED] = cycle - 1
        s.pes[pe, PE_PATH_CYCLES] += served
        s.pes[pe, PE_BULK] = NONE
        if s.operations[bulk, OP_REMAINING] == 0:
            s.operations[bulk, OP_FINISH] = cycle
    if s.pes[pe, PE_NUM_LIVE] == 0:
        return
    first = s.pes[pe, PE_OPERATIONS]
    for op in range(first, first + s.pes[pe, PE_NUM_OPERATIONS]):
        if s.operations[op, OP_IS_LIVE] and s.operations[op, OP_FINISH] <= cycle:
            end_operation(s, pe, op)


@kernel
def end_operation(s: Arrays, pe: int, op: int) -> None:
    """Free the thread, the channels and the queue, and tell the main thread or the tasks."""
    s.operations[op, OP_IS_LIVE] = 0
    s.pes[pe, PE_NUM_LIVE] -= 1
    for at in (OP_SRC0, OP_SRC1):
        if s.operations[op, at + OPERAND_KIND] == INPUT:
            s.channels[s.operations[op, at + OPERAND_BASE], CHANNEL_READER] = NONE
    if s.operations[op, OP_DEST + OPERAND_KIND] == OUTPUT:
        s.sources[s.operations[op, OP_DEST + OPERAND_BASE], SOURCE_WRITER] = NONE
    end = s.operations[op, OP_FINISH]
    record(s, end, pe, _DSD_END, s.operations[op, OP_THREAD], s.operations[op, OP_KIND])
    note(s, end)
    operation_ended(s, pe, op, end)


@kernel
def serve(s: Arrays, pe: int, cycle: int) -> None:
    """Give the data path to one operation (M34)."""
    if s.pes[pe, PE_NUM_LIVE] == 0:
        return
    bulk = s.pes[pe, PE_BULK]
    if bulk != NONE:
        schedule_element(s, pe, s.pes[pe, PE_BULK_SINCE] + s.operations[bulk, OP_REMAINING])
        return
    if s.pes[pe, PE_PATH_FREE] > cycle:
        schedule_element(s, pe, s.pes[pe, PE_PATH_FREE])
        return
    first = s.pes[pe, PE_OPERATIONS]
    winner = NONE
    num_ready = 0
    for op in range(first, first + s.pes[pe, PE_NUM_OPERATIONS]):
        if is_ready(s, pe, op, cycle):
            s.candidates[num_ready] = op
            num_ready += 1
            if winner == NONE or is_preferred(s, op, winner):
                winner = op
    if winner == NONE:
        return
    is_alone = True
    for i in range(num_ready):
        op = s.candidates[i]
        note_stall(s, pe, op, cycle, NONE if op == winner else _DATA_PATH)
        if op != winner and s.operations[op, OP_RANK] >= s.operations[winner, OP_RANK]:
            is_alone = False
    if s.operations[winner, OP_IS_FABRIC]:
        serve_element(s, pe, winner, cycle)
    else:
        serve_memory(s, pe, winner, cycle, is_alone)


@kernel
def is_preferred(s: Arrays, op: int, other: int) -> bool:
    """Tell whether an operation is served rather than one on a lower thread (M34)."""
    if s.operations[op, OP_RANK] != s.operations[other, OP_RANK]:
        return s.operations[op, OP_RANK] > s.operations[other, OP_RANK]
    return s.operations[op, OP_LAST_SERVED] < s.operations[other, OP_LAST_SERVED]


@kernel
def is_ready(s: Arrays, pe: int, op: int, cycle: int) -> bool:
    """Tell whether an operation could use the data path; else ask to be woken when it can."""
    if not s.operations[op, OP_IS_LIVE] or s.operations[op, OP_FINISH] < NEVER:
        return False
    if s.operations[op, OP_START] > cycle:
        schedule_element(s, pe, s.operations[op, OP_START])
        return False
    if not s.operations[op, OP_IS_FABRIC]:
        return True
    reason = obstacle_of(s, pe, op, cycle)
    if reason == NONE:
        return True
    note_stall(s, pe, op, cycle, reason)
    return False


@kernel
def obstacle_of(s: Arrays, pe: int, op: int, cycle: int) -> int:
    """Return what an operation with a fabric operand waits for (NONE: nothing), see M33."""
    for at in (OP_SRC0, OP_SRC1):
        if s.operations[op, at + OPERAND_KIND] == INPUT:
            channel = s.operations[op, at + OPERAND_BASE]
            if s.channels[channel, CHANNEL_COUNT] == 0:
                return _INPUT_EMPTY
            row = s.channels[channel, CHANNEL_RING] + s.channels[channel, CHANNEL_HEAD]
            if s.rings[row, RING_READY] > cycle:
                schedule_element(s, pe, s.rings[row, RING_READY])
                return _INPUT_EMPTY
    if s.operations[op, OP_DEST + OPERAND_KIND] == OUTPUT:
        source = s.operations[op, OP_DEST + OPERAND_BASE]
        if s.sources[source, SOURCE_COUNT] >= s.sources[source, SOURCE_CAPACITY]:
            s.sources[source, SOURCE_IS_AWAITED] = 1
            return _OUTPUT_FULL
    return NONE


@kernel
def note_stall(s: Arrays, pe: int, op: int, cycle: int, reason: int) -> None:
    """Count the cycles an operation has waited, and note what it waits for from `cycle` on."""
    before = s.operations[op, OP_REASON]
    if before != NONE:
        s.pes[pe, PE_STALLS + before] += cycle - s.operations[op, OP_COUNTED_TO]
    elif reason == NONE:
        return
    if reason != before:
        s.operations[op, OP_WAITING_SINCE] = cycle
    s.operations[op, OP_REASON] = reason
    s.operations[op, OP_COUNTED_TO] = cycle


@kernel
def serve_element(s: Arrays, pe: int, op: int, cycle: int) -> None:
    """Execute one element of an operation with a fabric operand (M33)."""
    if not s.operations[op, OP_HAS_STARTED]:
        begin(s, pe, op, cycle)
    word = step(s, pe, op)
    if s.clock[FAULT]:
        place_fault(s, pe, s.operations[op, OP_PC], cycle)
        return
    for at in (OP_SRC0, OP_SRC1):
        if s.operations[op, at + OPERAND_KIND] == INPUT:
            channel = s.operations[op, at + OPERAND_BASE]
            if s.channels[channel, CHANNEL_IS_AWAITED]:
                s.channels[channel, CHANNEL_IS_AWAITED] = 0
                schedule_router(s, pe, cycle + 1)
    if s.operations[op, OP_DEST + OPERAND_KIND] == OUTPUT:
        routable = cycle + 1 + s.timing[T_RAMP]
        mask = (1 << 8 * s.operations[op, OP_DEST + OPERAND_BYTES]) - 1
        source = s.operations[op, OP_DEST + OPERAND_BASE]
        push(s, source, routable, s.operations[op, OP_DEST + OPERAND_DSD], word & mask)
        schedule_router(s, pe, routable)
    element_cycles = s.operations[op, OP_ELEMENT_CYCLES]
    free_at = cycle + element_cycles
    s.pes[pe, PE_ELEMENTS] += 1
    s.pes[pe, PE_PATH_CYCLES] += element_cycles
    s.operations[op, OP_LAST_SERVED] = cycle
    s.pes[pe, PE_PATH_FREE] = free_at
    if (
        s.operations[op, OP_NEXT] == s.operations[op, OP_LENGTH]
        and not (s.operations[op, OP_IS_ENDLESS])
    ):
        s.operations[op, OP_FINISH] = free_at
    note(s, free_at)
    schedule_element(s, pe, free_at)


@kernel
def serve_memory(s: Arrays, pe: int, op: int, cycle: int, is_alone: bool) -> None:
    """Let a memory-only operation go on: to its end if nothing comes between, else a cycle."""
    if not s.operations[op, OP_HAS_STARTED]:
        begin(s, pe, op, cycle)
        if s.clock[FAULT]:
            return
    if is_alone:
        s.pes[pe, PE_BULK] = op
        s.pes[pe, PE_BULK_SINCE] = cycle
        schedule_element(s, pe, cycle + s.operations[op, OP_REMAINING])
        return
    s.operations[op, OP_REMAINING] -= 1
    s.operations[op, OP_LAST_SERVED] = cycle
    s.pes[pe, PE_PATH_CYCLES] += 1
    s.pes[pe, PE_PATH_FREE] = cycle + 1
    if s.operations[op, OP_REMAINING] == 0:
        s.operations[op, OP_FINISH] = cycle + 1
    schedule_element(s, pe, cycle + 1)
