"""The elements of a DSD operation: read, computed and written (M36, M37, M44, M140, M147)."""

from __future__ import annotations

from onewafer.image import (
    DsdOperation,
    ScalarType,
)
from onewafer.simulator.arithmetic.floating import HALF_SHIFT
from onewafer.simulator.arithmetic.outputs import (
    CLEARS_BITS,
    CLEARS_SHIFT,
    DATA_BITS,
    HAS_INDEX,
    INDEX_BITS,
)
from onewafer.simulator.arithmetic.undefined import carry_of
from onewafer.simulator.fast.kernels.compute_element.exceptions import (
    exceptions_of,
    kind_of,
    note_exceptions,
)
from onewafer.simulator.fast.kernels.compute_element.memory import read, write
from onewafer.simulator.fast.kernels.compute_element.scalars import OF_HALVES, compute_element
from onewafer.simulator.fast.kernels.fabric.fifo import WORD, place_of, to_signed
from onewafer.simulator.fast.machine_code.compilation import kernel, shared
from onewafer.simulator.fast.state import fields as f
from onewafer.simulator.fast.state.arrays import Arrays, int64

_ADDC16, _F16 = int(DsdOperation.ADDC16), int(ScalarType.F16)


# --- elements in memory --------------------------------------------------------------------------


@kernel
def block_address(s: Arrays, op: int, at: int, k: int) -> int:
    """Return the address of element k of a MEM4D, whose first elements may be skipped (M124)."""
    dsd = s.arena[op + at + f.OPERAND_DSD]
    num_bytes = s.arena[op + at + f.OPERAND_BYTES]
    address = s.arena[op + at + f.OPERAND_BASE]
    k += s.arena[op + at + f.OPERAND_STEP]
    last = s.dsds[dsd, f.DSD_NUM_LOOPS] - 1
    for loop in range(last):
        extent = s.dsds[dsd, f.DSD_EXTENTS + loop]
        address += k % extent * s.dsds[dsd, f.DSD_STRIDES + loop] * num_bytes
        k //= extent
    return address + k * s.dsds[dsd, f.DSD_STRIDES + last] * num_bytes


@kernel
def read_memory(s: Arrays, pe: int, op: int, at: int, k: int) -> int:
    """Return element k of a source that is neither fabric nor a plain vector."""
    address = int64(s.arena[op + at + f.OPERAND_BASE])
    if s.arena[op + at + f.OPERAND_KIND] == f.BLOCK:
        address = block_address(s, op, at, k)
    return read(s, pe, address, s.arena[op + at + f.OPERAND_BYTES])


@kernel
def write_memory(s: Arrays, pe: int, op: int, k: int, word: int) -> None:
    """Store element k of a destination that is neither fabric nor a plain vector."""
    address = int64(s.arena[op + f.OP_DEST + f.OPERAND_BASE])
    kind = s.arena[op + f.OP_DEST + f.OPERAND_KIND]
    if kind == f.SCALAR:
        return
    if kind == f.BLOCK:
        address = block_address(s, op, f.OP_DEST, k)
    write(s, pe, address, word, s.arena[op + f.OP_DEST + f.OPERAND_BYTES])


# --- elements ------------------------------------------------------------------------------------


@kernel
def compute_elements(s: Arrays, pe: int, op: int, count: int) -> int:
    """Read, compute and write elements, one after the other (M36); return how many were done.

    Wavelets are read and written in their slots; the caller moves the heads and tails.
    """
    kind = s.arena[op + f.OP_KIND]
    if kind >= _ADDC16:  # or behind it, or marked: what these take would halve the speed of all
        return compute_one_by_one(s, pe, op, count)
    kind = kind_in_program(s, pe, kind)
    scalar = int64(s.arena[op + f.OP_SCALAR]) & WORD
    accumulator = s.arena[op + f.OP_ACCUMULATOR]
    kind0, base0, step0, bytes0 = operand_of(s, op, f.OP_SRC0)
    kind1, base1, step1, bytes1 = operand_of(s, op, f.OP_SRC1)
    kind2, base2, step2, bytes2 = operand_of(s, op, f.OP_DEST)
    mask0, mask1 = mask_of(bytes0), mask_of(bytes1)
    mask2, index2 = mask_of(bytes2), 0
    if kind2 == f.OUTPUT:
        mask2, index2 = mask_of_output(bytes2, step2), step2 & INDEX_BITS
    first, done = int64(s.arena[op + f.OP_NEXT]), 0
    while done < count:
        k = first + done
        if kind0 == f.INPUT:
            a = waiting_word(s, base0, done) & mask0
        elif kind0 == f.VECTOR:
            a = read(s, pe, base0 + k * step0, bytes0)
        elif kind0 == f.SCALAR:
            a = base0 & WORD
        else:
            a = read_memory(s, pe, op, f.OP_SRC0, k)
        if kind1 == f.INPUT:
            b = waiting_word(s, base1, done) & mask1
        elif kind1 == f.VECTOR:
            b = read(s, pe, base1 + k * step1, bytes1)
        elif kind1 == f.SCALAR:
            b = base1 & WORD
        else:
            b = read_memory(s, pe, op, f.OP_SRC1, k)
        if s.clock[f.FAULT]:
            break
        word = compute_element(kind, a, b, scalar)
        if kind2 == f.OUTPUT:
            s.arena[place_of(s, base2, s.arena[base2 + f.FIFO_TAIL] + done) + 1] = to_signed(
                word & mask2 | index2
            )
        elif kind2 == f.VECTOR:
            write(s, pe, base2 + k * step2, word, bytes2)
        else:
            write_memory(s, pe, op, k, word)
        if s.clock[f.FAULT]:
            break
        if accumulator == f.OP_SRC0:
            base0 = word
        elif accumulator == f.OP_SRC1:
            base1 = word
        done += 1
    s.arena[op + f.OP_NEXT] = first + done
    keep_result(s, op, base0 if accumulator == f.OP_SRC0 else base1)
    return done


@kernel
def kind_in_program(s: Arrays, pe: int, kind: int) -> int:
    """Return an operation's kind, with the program's 16-bit float format if relevant (M148)."""
    half = s.programs[s.pes[pe, f.PE_PROGRAM], f.PROGRAM_HALF]
    return kind | half << HALF_SHIFT if half != _F16 and OF_HALVES >> kind & 1 else kind


@shared
def compute_one_by_one(s: Arrays, pe: int, op: int, count: int) -> int:
    """As `compute_elements`, for operations with a carry (M140) or that may end early.

    An exception (M147) stops a memory-only operation when all its elements are done (M12).
    """
    first = int64(s.arena[op + f.OP_NEXT])
    is_checked = s.arena[op + f.OP_KIND] & f.CHECKED != 0
    computed = kind_in_program(s, pe, kind_of(s, op))
    raised, done = 0, 0
    while done < count:
        a = source_word(s, pe, op, f.OP_SRC0, first + done, done)
        b = source_word(s, pe, op, f.OP_SRC1, first + done, done)
        if s.clock[f.FAULT]:
            break
        scalar = int64(s.arena[op + f.OP_SCALAR]) & WORD
        word = compute_element(computed, a, b, scalar)
        kind, base, step, num_bytes = operand_of(s, op, f.OP_DEST)
        if kind == f.OUTPUT:
            sent = word & mask_of_output(num_bytes, step) | step & INDEX_BITS
            s.arena[place_of(s, base, s.arena[base + f.FIFO_TAIL] + done) + 1] = to_signed(sent)
        elif kind == f.VECTOR:
            write(s, pe, base + (first + done) * step, word, num_bytes)
        else:
            write_memory(s, pe, op, first + done, word)
        if s.clock[f.FAULT]:
            break
        hand_on_carry(s, op, a, b)
        keep_result(s, op, word)
        if is_checked:
            raised |= exceptions_of(computed, a, b, scalar, word)
            if s.arena[op + f.OP_STEPS]:
                note_exceptions(s, pe, raised)
                if s.clock[f.FAULT]:
                    break
        done += 1
    s.arena[op + f.OP_NEXT] = first + done
    if raised and not s.clock[f.FAULT]:
        note_exceptions(s, pe, raised)
    return done


@kernel
def source_word(s: Arrays, pe: int, op: int, at: int, k: int, waiting: int) -> int:
    """Return element k of a source; for a channel, the k-th wavelet that waits."""
    kind, base, step, num_bytes = operand_of(s, op, at)
    if kind == f.INPUT:
        return waiting_word(s, base, waiting) & mask_of(num_bytes)
    if kind == f.VECTOR:
        return read(s, pe, base + k * step, num_bytes)
    if kind == f.SCALAR:
        return base & WORD
    return read_memory(s, pe, op, at, k)


@kernel
def hand_on_carry(s: Arrays, op: int, a: int, b: int) -> None:
    """Keep the carry of ADDC16 for the next element (M140)."""
    if s.arena[op + f.OP_KIND] == _ADDC16:
        s.arena[op + f.OP_SCALAR] = carry_of(a, b, int64(s.arena[op + f.OP_SCALAR]))


@kernel
def keep_result(s: Arrays, op: int, word: int) -> None:
    """Keep the result of a reduction's element as the accumulator of the next one (M37)."""
    accumulator = s.arena[op + f.OP_ACCUMULATOR]
    if accumulator:
        s.arena[op + accumulator + f.OPERAND_BASE] = to_signed(word)


@kernel
def operand_of(s: Arrays, op: int, at: int) -> tuple[int, int, int, int]:
    """Return kind, base, step and bytes of an operand."""
    return (
        s.arena[op + at + f.OPERAND_KIND],
        int64(s.arena[op + at + f.OPERAND_BASE]),
        int64(s.arena[op + at + f.OPERAND_STEP]),
        int64(s.arena[op + at + f.OPERAND_BYTES]),
    )


@kernel
def mask_of(num_bytes: int) -> int:
    """Return the mask of the bits of `num_bytes`."""
    return (1 << 8 * num_bytes) - 1


@kernel
def mask_of_output(num_bytes: int, flags: int) -> int:
    """Return the mask of the bits that an element puts into a wavelet (M44, M46)."""
    return DATA_BITS if flags & HAS_INDEX else mask_of(num_bytes)


@shared
def clear_source(s: Arrays, pe: int, op: int) -> None:
    """Zero the source of a finished operation whose destination requests it (M47).

    Each element was read before, so its address is valid.
    """
    source = (s.arena[op + f.OP_DEST + f.OPERAND_STEP] >> CLEARS_SHIFT & CLEARS_BITS) - 1
    if source < 0:
        return
    at = f.OP_SRC0 if source == 0 else f.OP_SRC1
    kind, base, step, num_bytes = operand_of(s, op, at)
    if kind != f.VECTOR and kind != f.BLOCK:
        return
    for k in range(s.arena[op + f.OP_LENGTH]):
        address = block_address(s, op, at, k) if kind == f.BLOCK else base + k * step
        write(s, pe, address, 0, num_bytes)


@kernel
def waiting_word(s: Arrays, fifo: int, i: int) -> int:
    """Return the word of a waiting wavelet in a FIFO; number 0 is the oldest."""
    return int64(s.arena[place_of(s, fifo, s.arena[fifo + f.FIFO_HEAD] + i) + 1]) & WORD


@shared
def perform(s: Arrays, pe: int, op: int) -> None:
    """Execute every element of a memory-only operation, up to a fault."""
    compute_elements(s, pe, op, s.arena[op + f.OP_LENGTH])
    s.arena[op + f.OP_NEXT] = 0
