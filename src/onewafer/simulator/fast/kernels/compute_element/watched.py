"""Operations with a ring, or whose control wavelets have effects (M98, M111).

Such operations are served element by element: their stall reason may change in any cycle.
"""

from __future__ import annotations

from onewafer.simulator.arithmetic.control import MEMORY_MARK, kept_word
from onewafer.simulator.arithmetic.outputs import (
    ADVANCES,
    DATA_BITS,
    DROPS,
    INDEX_BITS,
    MARKS,
    NUM_PACKED,
    TAKES_CONTROL,
    UNMARKS,
)
from onewafer.simulator.fast.kernels.bookkeeping.agenda import (
    note,
    wake_attention,
    wake_element,
    wake_router,
)
from onewafer.simulator.fast.kernels.bookkeeping.recording import note_control_as_data, record
from onewafer.simulator.fast.kernels.compute_element.computing import (
    clear_source,
    hand_on_carry,
    keep_result,
    kind_in_program,
    mask_of_output,
    read_memory,
    write_memory,
)
from onewafer.simulator.fast.kernels.compute_element.elements import finish, place_fault
from onewafer.simulator.fast.kernels.compute_element.exceptions import (
    exceptions_of,
    kind_of,
    note_exceptions,
)
from onewafer.simulator.fast.kernels.compute_element.memory import read, write
from onewafer.simulator.fast.kernels.compute_element.rings import put_element, take_element
from onewafer.simulator.fast.kernels.compute_element.scalars import compute_element
from onewafer.simulator.fast.kernels.fabric.fifo import WORD, put, take
from onewafer.simulator.fast.kernels.fabric.marks import (
    is_control_next,
    set_tag,
    tag_from_ramp,
    unmark,
)
from onewafer.simulator.fast.machine_code.compilation import kernel, shared
from onewafer.simulator.fast.state import fields as f
from onewafer.simulator.fast.state.arrays import Arrays, int64
from onewafer.trace import EventKind

_DSD_START = int(EventKind.DSD_START)


@shared
def serve_watched(s: Arrays, block: int, op: int, cycle: int) -> None:
    """Execute one element whose operands are available."""
    pe = s.arena[block + f.BLOCK_PE]
    if s.arena[op + f.OP_HAS_STARTED] == 0:
        s.arena[op + f.OP_HAS_STARTED] = 1
        thread = s.operations[s.arena[op + f.OP_ROW], f.OPS_THREAD]
        record(s, cycle, block, _DSD_START, thread, kind_of(s, op))
    before = s.arena[op + f.OP_NEXT]
    if s.arena[op + f.OP_STEPS] & f.PACKED:
        step_packed(s, block, op, cycle)
    else:
        step_watched(s, block, op, cycle)
    if s.clock[f.FAULT]:
        place_fault(s, pe, s.arena[op + f.OP_PC], cycle)
        return
    element_cycles = s.arena[op + f.OP_ELEMENT_CYCLES]
    free_at = cycle + element_cycles
    s.arena[block + f.BLOCK_ELEMENTS] += max(1, s.arena[op + f.OP_NEXT] - before)
    s.arena[block + f.BLOCK_PATH_CYCLES] += element_cycles
    s.arena[op + f.OP_LAST_SERVED] = cycle
    s.arena[block + f.BLOCK_PATH_FREE] = free_at
    if s.arena[op + f.OP_NEXT] == s.arena[op + f.OP_LENGTH] and s.arena[op + f.OP_IS_ENDLESS] == 0:
        finish(s, block, op, free_at)
        wake_attention(s, block, free_at)
        if s.arena[op + f.OP_DEST + f.OPERAND_KIND] == f.OUTPUT:
            clear_source(s, pe, op)
    note(s, free_at)
    wake_element(s, block, free_at)


@kernel
def step_watched(s: Arrays, block: int, op: int, cycle: int) -> None:
    """Read, compute and write the next element (M36)."""
    pe = s.arena[block + f.BLOCK_PE]
    k = int64(s.arena[op + f.OP_NEXT])
    progress = 0 if drops_next(s, op) else 1
    a = take_operand(s, block, op, f.OP_SRC0, k, cycle)
    b = take_operand(s, block, op, f.OP_SRC1, k, cycle)
    if s.clock[f.FAULT]:
        return
    scalar = int64(s.arena[op + f.OP_SCALAR]) & WORD
    kind = kind_in_program(s, pe, kind_of(s, op))
    word = compute_element(kind, a, b, scalar)
    put_result(s, block, pe, op, k, word, cycle)
    if s.clock[f.FAULT]:
        return
    keep_result(s, op, word)
    if progress:
        hand_on_carry(s, op, a, b)
    s.arena[op + f.OP_NEXT] = k + progress
    if s.arena[op + f.OP_KIND] & f.CHECKED:
        note_exceptions(s, pe, exceptions_of(kind, a, b, scalar, word))


@kernel
def step_packed(s: Arrays, block: int, op: int, cycle: int) -> None:
    """Read, compute and write the elements of a wavelet: the first is its low half (M150)."""
    pe = s.arena[block + f.BLOCK_PE]
    first = int64(s.arena[op + f.OP_NEXT])
    count = int64(NUM_PACKED)
    if not s.arena[op + f.OP_IS_ENDLESS]:
        count = min(count, s.arena[op + f.OP_LENGTH] - first)
    kind = kind_in_program(s, pe, kind_of(s, op))
    raised, sent = 0, int64(0)
    received0 = take_packed(s, block, op, f.OP_SRC0, cycle)
    received1 = take_packed(s, block, op, f.OP_SRC1, cycle)
    for i in range(count):
        a = packed_element(s, block, op, f.OP_SRC0, received0, first + i, i, cycle)
        b = packed_element(s, block, op, f.OP_SRC1, received1, first + i, i, cycle)
        if s.clock[f.FAULT]:
            return
        scalar = int64(s.arena[op + f.OP_SCALAR]) & WORD
        word = compute_element(kind, a, b, scalar)
        if s.arena[op + f.OP_DEST + f.OPERAND_KIND] == f.OUTPUT:
            sent |= (word & DATA_BITS) << 16 * i
        else:
            put_result(s, block, pe, op, first + i, word, cycle)
        if s.clock[f.FAULT]:
            return
        keep_result(s, op, word)
        hand_on_carry(s, op, a, b)
        if s.arena[op + f.OP_KIND] & f.CHECKED:
            raised |= exceptions_of(kind, a, b, scalar, word)
    s.arena[op + f.OP_NEXT] = first + count
    if s.arena[op + f.OP_DEST + f.OPERAND_KIND] == f.OUTPUT:
        send(s, block, pe, op, first + count, sent, cycle)
    note_exceptions(s, pe, raised)


@kernel
def take_packed(s: Arrays, block: int, op: int, at: int, cycle: int) -> int:
    """Take the wavelet with the next elements of a source; 0 for other operands."""
    if s.arena[op + at + f.OPERAND_KIND] != f.INPUT:
        return int64(0)
    return take_from_channel(s, block, op, at, cycle)


@kernel
def packed_element(
    s: Arrays, block: int, op: int, at: int, received: int, k: int, i: int, cycle: int
) -> int:
    """Return element k of a source, element i of a received wavelet."""
    if s.arena[op + at + f.OPERAND_KIND] == f.INPUT:
        return received >> 16 * i & DATA_BITS
    return take_operand(s, block, op, at, k, cycle)


@kernel
def drops_next(s: Arrays, op: int) -> bool:
    """Tell whether the next wavelet is data that a source drops (M99)."""
    for at in (f.OP_SRC0, f.OP_SRC1):
        if s.arena[op + at + f.OPERAND_KIND] != f.INPUT:
            continue
        drops = s.arena[op + at + f.OPERAND_STEP] & DROPS != 0
        if drops and not is_control_next(s, s.arena[op + at + f.OPERAND_BASE]):
            return True
    return False


@kernel
def take_operand(s: Arrays, block: int, op: int, at: int, k: int, cycle: int) -> int:
    """Return element k of a source; take it out of a channel or a ring."""
    pe = s.arena[block + f.BLOCK_PE]
    kind = s.arena[op + at + f.OPERAND_KIND]
    base = int64(s.arena[op + at + f.OPERAND_BASE])
    num_bytes = int64(s.arena[op + at + f.OPERAND_BYTES])
    if kind == f.SCALAR:
        return base & WORD
    if kind == f.INPUT:
        marks = s.arena[op + at + f.OPERAND_STEP] & MARKS != 0 and is_control_next(s, base)
        word = take_from_channel(s, block, op, at, cycle)
        if marks:
            word = kept_word(word, int64(s.control_masks[pe]))
        return word & ((1 << 8 * num_bytes) - 1)
    if kind == f.RING:
        return take_element(s, pe, base, num_bytes, cycle)
    if kind == f.VECTOR:
        return read(s, pe, base + k * s.arena[op + at + f.OPERAND_STEP], num_bytes)
    return read_memory(s, pe, op, at, k)


@kernel
def take_from_channel(s: Arrays, block: int, op: int, at: int, cycle: int) -> int:
    """Take a wavelet for a source, and wake a router that waits for the slot."""
    channel = int64(s.arena[op + at + f.OPERAND_BASE])
    is_control = is_control_next(s, channel)
    word = take(s, channel, cycle)
    if is_control:
        unmark(s, channel, 1)
        if s.arena[op + at + f.OPERAND_STEP] & TAKES_CONTROL == 0:
            note_control_as_data(s, block, op, cycle)
    if s.arena[channel + f.FIFO_STATE]:
        s.arena[channel + f.FIFO_STATE] = 0
        wake_router(s, block, cycle + 1)
    return word


@kernel
def put_result(s: Arrays, block: int, pe: int, op: int, k: int, word: int, cycle: int) -> None:
    """Deliver element k to the destination: memory, the fabric or a ring."""
    kind = s.arena[op + f.OP_DEST + f.OPERAND_KIND]
    base = int64(s.arena[op + f.OP_DEST + f.OPERAND_BASE])
    num_bytes = int64(s.arena[op + f.OP_DEST + f.OPERAND_BYTES])
    if kind == f.OUTPUT:
        flags = int64(s.arena[op + f.OP_DEST + f.OPERAND_STEP])
        send(s, block, pe, op, k + 1, word & mask_of_output(num_bytes, flags), cycle)
    elif kind == f.RING:
        put_element(s, pe, base, word, num_bytes, cycle)
    elif kind == f.VECTOR:
        write(s, pe, base + k * s.arena[op + f.OP_DEST + f.OPERAND_STEP], word, num_bytes)
    elif k + 1 == s.arena[op + f.OP_LENGTH] or not is_all_or_nothing(s, op):
        write_memory(s, pe, op, k, word)


@kernel
def is_all_or_nothing(s: Arrays, op: int) -> bool:
    """Tell whether only the last element of the operation is delivered (M112)."""
    if s.arena[op + f.OP_DEST + f.OPERAND_KIND] != f.POINTER or s.arena[op + f.OP_CONFIG] != f.NONE:
        return False
    return (
        s.arena[op + f.OP_SRC0 + f.OPERAND_KIND] == f.RING
        or s.arena[op + f.OP_SRC1 + f.OPERAND_KIND] == f.RING
    )


@kernel
def send(s: Arrays, block: int, pe: int, op: int, following: int, word: int, cycle: int) -> None:
    """Put a wavelet into the destination's queue; element `following` is the next one."""
    base = int64(s.arena[op + f.OP_DEST + f.OPERAND_BASE])
    flags = int64(s.arena[op + f.OP_DEST + f.OPERAND_STEP])
    tag = int64(s.arena[op + f.OP_DEST + f.OPERAND_DSD])
    if flags & UNMARKS and word & MEMORY_MARK == MEMORY_MARK:
        word &= ~MEMORY_MARK
        tag |= f.CONTROL_TAG
    is_last = following == s.arena[op + f.OP_LENGTH] and s.arena[op + f.OP_IS_ENDLESS] == 0
    if flags & ADVANCES and is_last:
        tag |= f.ADVANCE_TAG
    if s.arena[base + f.FIFO_ROUTE] == f.ANY_COLOR or tag & f.MARK_TAGS:
        set_tag(s, base, s.arena[base + f.FIFO_TAIL], tag_from_ramp(s, pe, tag))
    routable = cycle + 1 + s.timing[f.T_RAMP]
    put(s, base, routable, word | flags & INDEX_BITS)
    s.arena[block + f.BLOCK_ACTIVE] |= 1 << (s.arena[base + f.FIFO_SHAPE] & 0xFF)
    wake_router(s, block, routable)
