"""Fast paths for elements of the common stream operations: 32-bit moves and additions.

The results equal those of `computing`. Here, operands and widths are constants when kernels are
compiled: with batches of wavelets in one loop (`move_bunch`), a chain reduce and a multicast become
1.3 times as fast.
"""

from __future__ import annotations

from onewafer.image import DsdOperation
from onewafer.simulator.arithmetic.outputs import HAS_INDEX
from onewafer.simulator.arithmetic.tables import ELEMENTS
from onewafer.simulator.fast.kernels.compute_element.memory import read, write
from onewafer.simulator.fast.kernels.compute_element.staging import (
    WORD_BYTES,
    can_be_staged,
    settle,
    stage_words,
)
from onewafer.simulator.fast.kernels.fabric.fifo import WORD, place_of, to_signed
from onewafer.simulator.fast.machine_code.compilation import kernel
from onewafer.simulator.fast.state import fields as f
from onewafer.simulator.fast.state.arrays import Arrays, int64

_MOV32, _FMOVS = int(DsdOperation.MOV32), int(DsdOperation.FMOVS)
_FADDS = int(DsdOperation.FADDS)
_mov32, _fadds = ELEMENTS[DsdOperation.MOV32], ELEMENTS[DsdOperation.FADDS]
assert ELEMENTS[DsdOperation.FMOVS] is _mov32


@kernel
def stream_words(s: Arrays, block: int, op: int, count: int) -> int:
    """As `compute_elements`, for the operations of this module; NONE for others."""
    pe = s.arena[block + f.BLOCK_PE]
    kind = s.arena[op + f.OP_KIND]
    source = s.arena[op + f.OP_SRC1 + f.OPERAND_KIND]
    dest = s.arena[op + f.OP_DEST + f.OPERAND_KIND]
    if kind == _FMOVS or kind == _MOV32:
        if source == f.INPUT and dest == f.VECTOR:
            if can_be_staged(s, block, op, count):
                return stage_received(s, block, op, count)
            settle(s, block)
            return compute_words(s, pe, op, count, False, True, False)
        if source == f.VECTOR and is_plain_output(s, op):
            return compute_words(s, pe, op, count, False, False, True)
    elif (
        kind == _FADDS
        and source == f.INPUT
        and s.arena[op + f.OP_SRC0 + f.OPERAND_KIND] == f.VECTOR
    ):
        if dest == f.VECTOR:
            return compute_words(s, pe, op, count, True, True, False)
        if is_plain_output(s, op):
            return compute_words(s, pe, op, count, True, True, True)
    return f.NONE


@kernel
def is_plain_output(s: Arrays, op: int) -> bool:
    """Tell whether the destination is fabric, and wavelets have no index (M46)."""
    is_output = s.arena[op + f.OP_DEST + f.OPERAND_KIND] == f.OUTPUT
    return is_output and s.arena[op + f.OP_DEST + f.OPERAND_STEP] & HAS_INDEX == 0


@kernel
def stage_received(s: Arrays, block: int, op: int, count: int) -> int:
    """Put the words of wavelets into the write buffer of the SRAM; return their number."""
    words = stage_words(s, block, op, count)
    channel = s.arena[op + f.OP_SRC1 + f.OPERAND_BASE]
    head, first = s.arena[channel + f.FIFO_HEAD], s.arena[op + f.OP_NEXT]
    for i in range(count):
        word = int64(s.arena[place_of(s, channel, head + i) + 1]) & WORD
        s.arena[words + first + i] = to_signed(_mov32(0, word, 0))
    s.arena[op + f.OP_NEXT] = first + count
    return count


@kernel
def compute_words(
    s: Arrays, pe: int, op: int, count: int, adds: bool, receives: bool, sends: bool
) -> int:
    """Read, compute and write elements, one after the other (M36); return how many were done."""
    first = int64(s.arena[op + f.OP_NEXT])
    base0, step0 = place_and_step(s, op, f.OP_SRC0)
    base1, step1 = place_and_step(s, op, f.OP_SRC1)
    base2, step2 = place_and_step(s, op, f.OP_DEST)
    head = s.arena[base1 + f.FIFO_HEAD] if receives else 0
    tail = s.arena[base2 + f.FIFO_TAIL] if sends else 0
    done = 0
    while done < count:
        k = first + done
        a = read(s, pe, base0 + k * step0, WORD_BYTES) if adds else 0
        if receives:
            b = int64(s.arena[place_of(s, base1, head + done) + 1]) & WORD
        else:
            b = read(s, pe, base1 + k * step1, WORD_BYTES)
        if s.clock[f.FAULT]:
            break
        word = _fadds(a, b, 0) if adds else _mov32(a, b, 0)
        if sends:
            s.arena[place_of(s, base2, tail + done) + 1] = to_signed(word)
        else:
            write(s, pe, base2 + k * step2, word, WORD_BYTES)
            if s.clock[f.FAULT]:
                break
        done += 1
    s.arena[op + f.OP_NEXT] = first + done
    return done


@kernel
def place_and_step(s: Arrays, op: int, at: int) -> tuple[int, int]:
    """Return base and step of an operand."""
    return int64(s.arena[op + at + f.OPERAND_BASE]), int64(s.arena[op + at + f.OPERAND_STEP])
