"""Operations with fabric operands in which two 16-bit elements share a wavelet (M150)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.simulator.arithmetic.outputs import HALF_BYTES, PACKS
from onewafer.simulator.fast.compilation import kernel
from onewafer.simulator.fast.fields import (
    INPUT,
    OP_DEST,
    OP_SRC0,
    OP_SRC1,
    OPERAND_BYTES,
    OPERAND_KIND,
    OPERAND_STEP,
    OUTPUT,
    RING,
)

if TYPE_CHECKING:
    from onewafer.simulator.fast.arrays import Arrays


@kernel
def is_packed(s: Arrays, op: int, at: int) -> bool:
    """Tell whether two elements of an operand share a wavelet."""
    kind = s.arena[op + at + OPERAND_KIND]
    return (
        (kind == INPUT or kind == OUTPUT)
        and s.arena[op + at + OPERAND_STEP] & PACKS != 0
        and s.arena[op + at + OPERAND_BYTES] == HALF_BYTES
    )


@kernel
def has_packed(s: Arrays, op: int) -> bool:
    """Tell whether that is so of an operand of an operation."""
    return is_packed(s, op, OP_DEST) or is_packed(s, op, OP_SRC0) or is_packed(s, op, OP_SRC1)


@kernel
def fits_packed(s: Arrays, op: int) -> bool:
    """Tell whether no operand has a wavelet, or a place in a FIFO, for each element."""
    for at in (OP_DEST, OP_SRC0, OP_SRC1):
        kind = s.arena[op + at + OPERAND_KIND]
        is_single = kind == INPUT or kind == OUTPUT or kind == RING
        if is_single and not is_packed(s, op, at):
            return False
    return True
