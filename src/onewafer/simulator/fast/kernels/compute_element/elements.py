"""Elements of operations with a fabric operand, computed in batches without interference (M33).

First the cycles of all elements are computed, then their values. Both depend only on the state at
the start of the batch: the waiting wavelets with their cycles, and the slots that are free or have
a known free cycle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.simulator.fast.kernels.bookkeeping.agenda import (
    note,
    wake_attention,
    wake_element,
    wake_router,
)
from onewafer.simulator.fast.kernels.bookkeeping.recording import note_control_as_data, record
from onewafer.simulator.fast.kernels.compute_element.computing import clear_source, compute_elements
from onewafer.simulator.fast.kernels.compute_element.exceptions import kind_of
from onewafer.simulator.fast.kernels.compute_element.staging import settle
from onewafer.simulator.fast.kernels.compute_element.words import stream_words
from onewafer.simulator.fast.kernels.fabric.fifo import (
    capacity_of,
    last_place,
    place_of,
    ready_cycle,
    room_cycle,
    tag_place,
)
from onewafer.simulator.fast.kernels.fabric.marks import (
    holds_marked,
    set_tag,
    tag_from_ramp,
    unmark,
)
from onewafer.simulator.fast.machine_code.compilation import kernel, shared
from onewafer.simulator.fast.state import fields as f
from onewafer.simulator.state.statistics import StallReason
from onewafer.trace import EventKind

if TYPE_CHECKING:
    from onewafer.simulator.fast.state.arrays import Arrays

_INPUT_EMPTY = int(StallReason.INPUT_EMPTY)
_OUTPUT_FULL = int(StallReason.OUTPUT_FULL)
_DSD_START = int(EventKind.DSD_START)
_ALL = 1 << 30


@kernel
def fabric_operands(s: Arrays, op: int) -> tuple[int, int, int]:
    """Return the channels that an operation reads and the queue that it writes; 0: none.

    If it reads one channel, that is the first one.
    """
    first, second, out = 0, 0, 0
    if s.arena[op + f.OP_SRC0 + f.OPERAND_KIND] == f.INPUT:
        first = s.arena[op + f.OP_SRC0 + f.OPERAND_BASE]
    if s.arena[op + f.OP_SRC1 + f.OPERAND_KIND] == f.INPUT:
        second = s.arena[op + f.OP_SRC1 + f.OPERAND_BASE]
    if s.arena[op + f.OP_DEST + f.OPERAND_KIND] == f.OUTPUT:
        out = s.arena[op + f.OP_DEST + f.OPERAND_BASE]
    if first == 0:
        first, second = second, 0
    return first, second, out


@shared
def stream(s: Arrays, block: int, op: int, cycle: int, horizon: int) -> None:
    """Execute elements of the only live operation, each as early as possible, before `horizon`.

    No other unit can use the data path meanwhile, see `find_lone_operation`.
    """
    execute(s, block, op, cycle, horizon, _ALL)
    if s.clock[f.FAULT] == 0 and s.arena[op + f.OP_FINISH] == f.FAR:
        await_next(s, block, op, cycle, horizon)


@kernel
def await_next(s: Arrays, block: int, op: int, cycle: int, horizon: int) -> None:
    """Note the stall reason of the next element, and schedule a wake-up."""
    cycle = earliest_cycle(s, block, op, cycle)
    if cycle >= horizon:
        wake_element(s, block, cycle)
        return
    first, second, out = fabric_operands(s, op)
    inputs = inputs_cycle(s, first, second, cycle)
    if inputs > cycle:
        note_stall(s, block, op, cycle, _INPUT_EMPTY)
    room = inputs
    if out and inputs < horizon:
        room = max(inputs, room_cycle(s, out, 1))
        if room > inputs:
            note_stall(s, block, op, inputs, _OUTPUT_FULL)
        if room == f.FAR:
            s.arena[out + f.FIFO_STATE] |= f.IS_AWAITED
    wake_element(s, block, room)


@kernel
def earliest_cycle(s: Arrays, block: int, op: int, cycle: int) -> int:
    """Return the earliest cycle of an operation's next element if its operands are there."""
    cycle = max(cycle, s.arena[block + f.BLOCK_PATH_FREE])
    if s.arena[op + f.OP_REASON] != f.NONE:
        # What it waits for may begin later: what came before is settled.
        cycle = max(cycle, s.operations[s.arena[op + f.OP_ROW], f.OPS_WAITING_SINCE])
    return cycle


@kernel
def inputs_cycle(s: Arrays, first: int, second: int, cycle: int) -> int:
    """Return the first cycle, not before `cycle`, with the wavelets of an element there."""
    if first:
        cycle = max(cycle, ready_cycle(s, first))
    if second:
        cycle = max(cycle, ready_cycle(s, second))
    return cycle


@shared
def execute(s: Arrays, block: int, op: int, cycle: int, horizon: int, most: int) -> None:
    """Execute up to `most` elements with available operands, from `cycle` to before `horizon`."""
    first, second, out = fabric_operands(s, op)
    if not s.arena[op + f.OP_IS_ENDLESS]:
        most = min(most, s.arena[op + f.OP_LENGTH] - s.arena[op + f.OP_NEXT])
    if first:
        most = min(most, s.arena[first + f.FIFO_TAIL] - s.arena[first + f.FIFO_HEAD])
    if second:
        most = min(most, s.arena[second + f.FIFO_TAIL] - s.arena[second + f.FIFO_HEAD])
    if out:
        used = s.arena[out + f.FIFO_TAIL] - s.arena[out + f.FIFO_HEAD]
        most = min(most, capacity_of(s, out) - used)
    cycle = earliest_cycle(s, block, op, cycle)
    if most == 0 or cycle >= horizon:
        return
    if s.arena[op + f.OP_REASON] != f.NONE:
        cycle = end_stall(s, block, op, cycle, horizon)
    count = set_cycles(s, block, op, cycle, horizon, most)
    if count == 0:
        return
    start = cycle_of(s, first, out, 0)
    if s.arena[op + f.OP_HAS_STARTED] == 0:
        s.arena[op + f.OP_HAS_STARTED] = 1
        thread = s.operations[s.arena[op + f.OP_ROW], f.OPS_THREAD]
        record(s, start, block, _DSD_START, thread, kind_of(s, op))
    pe = s.arena[block + f.BLOCK_PE]
    done = stream_words(s, block, op, count)
    if done == f.NONE:
        done = compute_elements(s, pe, op, count)
    if done < count:
        place_fault(s, pe, s.arena[op + f.OP_PC], cycle_of(s, first, out, done))
        if done:
            pass_on(s, block, op, start, done)
        return
    pass_on(s, block, op, start, count)
    path_free = s.arena[block + f.BLOCK_PATH_FREE]
    s.arena[op + f.OP_LAST_SERVED] = path_free - s.arena[op + f.OP_ELEMENT_CYCLES]
    if s.arena[op + f.OP_NEXT] == s.arena[op + f.OP_LENGTH] and not s.arena[op + f.OP_IS_ENDLESS]:
        finish(s, block, op, path_free)
        wake_attention(s, block, path_free)
        if out and s.arena[op + f.OP_DEST + f.OPERAND_STEP]:
            clear_source(s, pe, op)


@kernel
def end_stall(s: Arrays, block: int, op: int, cycle: int, horizon: int) -> int:
    """Count the stall of an operation that resumes; return the cycle of its next element."""
    first, second, out = fabric_operands(s, op)
    inputs = inputs_cycle(s, first, second, cycle)
    room = max(inputs, room_cycle(s, out, 1)) if out else inputs
    if room < horizon:
        if inputs > cycle:
            note_stall(s, block, op, cycle, _INPUT_EMPTY)
        if room > inputs:
            note_stall(s, block, op, inputs, _OUTPUT_FULL)
        note_stall(s, block, op, room, f.NONE)
        return room
    return cycle


@kernel
def set_cycles(s: Arrays, block: int, op: int, cycle: int, horizon: int, most: int) -> int:
    """Write the cycles of elements into the slots of their wavelets; return the number.

    `cycle` is the earliest for the first one.
    """
    first, second, out = fabric_operands(s, op)
    # Several calls: what an operation does not have is a constant, and its part of the loop gone.
    if second:
        return work_out_cycles(s, block, op, first, second, out, cycle, horizon, most)
    if out == 0:
        return work_out_cycles(s, block, op, first, 0, 0, cycle, horizon, most)
    if first == 0:
        return work_out_cycles(s, block, op, 0, 0, out, cycle, horizon, most)
    return work_out_cycles(s, block, op, first, 0, out, cycle, horizon, most)


@kernel
def work_out_cycles(
    s: Arrays,
    block: int,
    op: int,
    first: int,
    second: int,
    out: int,
    cycle: int,
    horizon: int,
    most: int,
) -> int:
    """As `set_cycles`, for the given channels and queue; 0: none."""
    element_cycles = s.arena[op + f.OP_ELEMENT_CYCLES]
    delay = 1 + s.timing[f.T_RAMP]
    head, last, head2, last2, tail, last_out, capacity = 0, 0, 0, 0, 0, 0, 0
    if first:
        head, last = s.arena[first + f.FIFO_HEAD], last_place(s, first)
    if second:
        head2, last2 = s.arena[second + f.FIFO_HEAD], last_place(s, second)
    if out:
        tail, last_out = s.arena[out + f.FIFO_TAIL], last_place(s, out)
        capacity = capacity_of(s, out)
    no_input, no_room, count = 0, 0, 0
    while count < most:
        at = cycle
        place = first + f.FIFO_RING + 2 * (head + count & last)
        place2 = second + f.FIFO_RING + 2 * (head2 + count & last2)
        place_out = out + f.FIFO_RING + 2 * (tail + count & last_out)
        if first:
            at = max(at, s.arena[place])
        if second:
            at = max(at, s.arena[place2])
        inputs = at
        if out:
            free = out + f.FIFO_RING + 2 * (tail + count - capacity & last_out)
            at = max(at, s.arena[free] + 1)
        if at >= horizon:
            break
        if first:
            s.arena[place] = at
        if second:
            s.arena[place2] = at
        if out:
            s.arena[place_out] = at + delay
        no_input += inputs - cycle
        no_room += at - inputs
        cycle = at + element_cycles
        count += 1
    if no_input or no_room:
        pe = s.arena[block + f.BLOCK_PE]
        s.pes[pe, f.PE_STALLS + _INPUT_EMPTY] += no_input
        s.pes[pe, f.PE_STALLS + _OUTPUT_FULL] += no_room
    if count:
        s.arena[block + f.BLOCK_PATH_FREE] = cycle
        note(s, cycle)
    return count


@kernel
def cycle_of(s: Arrays, first: int, out: int, i: int) -> int:
    """Return the computed cycle of an element."""
    if first:
        return s.arena[place_of(s, first, s.arena[first + f.FIFO_HEAD] + i)]
    return s.arena[place_of(s, out, s.arena[out + f.FIFO_TAIL] + i)] - 1 - s.timing[f.T_RAMP]


@kernel
def pass_on(s: Arrays, block: int, op: int, start: int, count: int) -> None:
    """Move heads and tails, and wake the router."""
    first, second, out = fabric_operands(s, op)
    for channel in (first, second):
        if channel and holds_marked(s, channel):
            note_controls(s, block, op, channel, first, count)
    if first:
        take_many(s, block, first, start, count)
    if second:
        take_many(s, block, second, start, count)
    if out:
        tail = s.arena[out + f.FIFO_TAIL]
        tag = s.arena[op + f.OP_DEST + f.OPERAND_DSD]
        if s.arena[out + f.FIFO_ROUTE] == f.ANY_COLOR or tag & f.MARK_TAGS:
            tag = tag_from_ramp(s, s.arena[block + f.BLOCK_PE], tag)
            for i in range(count):
                set_tag(s, out, tail + i, tag)
        s.arena[out + f.FIFO_TAIL] = tail + count
        s.arena[block + f.BLOCK_ACTIVE] |= 1 << (s.arena[out + f.FIFO_SHAPE] & 0xFF)
        wake_router(s, block, start + 1 + s.timing[f.T_RAMP])
    s.arena[block + f.BLOCK_ELEMENTS] += count
    s.arena[block + f.BLOCK_PATH_CYCLES] += count * s.arena[op + f.OP_ELEMENT_CYCLES]


@shared
def note_controls(s: Arrays, block: int, op: int, channel: int, first: int, count: int) -> None:
    """Note the control wavelets among those that an operation is about to take."""
    for i in range(count):
        if s.arena[tag_place(s, channel, s.arena[channel + f.FIFO_HEAD] + i)] & f.CONTROL_TAG:
            note_control_as_data(s, block, op, cycle_of(s, first, 0, i))


@kernel
def take_many(s: Arrays, block: int, channel: int, start: int, count: int) -> None:
    """Remove wavelets from a channel, and wake a router that waits for a free slot."""
    s.arena[channel + f.FIFO_HEAD] += count
    if holds_marked(s, channel):
        unmark(s, channel, count)
    if s.arena[channel + f.FIFO_STATE]:
        s.arena[channel + f.FIFO_STATE] = 0
        wake_router(s, block, start + 1)


@kernel
def note_stall(s: Arrays, block: int, op: int, cycle: int, reason: int) -> None:
    """Note the stall reason of an operation from `cycle` on (NONE: no stall)."""
    before = s.arena[op + f.OP_REASON]
    if reason != before:
        row = s.arena[op + f.OP_ROW]
        if before != f.NONE:
            waited = cycle - s.operations[row, f.OPS_WAITING_SINCE]
            if waited:  # most waits are not known to be none before they end
                s.pes[s.arena[block + f.BLOCK_PE], f.PE_STALLS + before] += waited
        s.operations[row, f.OPS_WAITING_SINCE] = cycle
        s.arena[op + f.OP_REASON] = reason


@kernel
def finish(s: Arrays, block: int, op: int, cycle: int) -> None:
    """End a completed operation in `cycle`."""
    s.arena[op + f.OP_FINISH] = cycle
    settle(s, block)
    s.arena[block + f.BLOCK_LONE] = 0
    s.arena[block + f.BLOCK_ARMED] &= ~(1 << slot_of(s, block, op))


@kernel
def slot_of(s: Arrays, block: int, op: int) -> int:
    """Return the number of an operation in its PE."""
    return (op - s.arena[block + f.BLOCK_OPERATIONS]) // f.NUM_OP_WORDS


@kernel
def place_fault(s: Arrays, pe: int, pc: int, cycle: int) -> None:
    """Record the place and the cycle of a fault."""
    s.clock[f.FAULT_PE] = pe
    s.clock[f.FAULT_PC] = pc
    s.clock[f.FAULT_CYCLE] = cycle
