"""Operations with fabric operands in which two 16-bit elements share a wavelet (M150)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.simulator.arithmetic.outputs import HALF_BYTES, PACKS
from onewafer.simulator.fast.machine_code.compilation import kernel
from onewafer.simulator.fast.state import fields as f

if TYPE_CHECKING:
    from onewafer.simulator.fast.state.arrays import Arrays


@kernel
def is_packed(s: Arrays, op: int, at: int) -> bool:
    """Tell whether two elements of an operand share a wavelet."""
    kind = s.arena[op + at + f.OPERAND_KIND]
    return (
        (kind == f.INPUT or kind == f.OUTPUT)
        and s.arena[op + at + f.OPERAND_STEP] & PACKS != 0
        and s.arena[op + at + f.OPERAND_BYTES] == HALF_BYTES
    )


@kernel
def has_packed(s: Arrays, op: int) -> bool:
    """Tell whether an operation has an operand with two elements in a wavelet."""
    return is_packed(s, op, f.OP_DEST) or is_packed(s, op, f.OP_SRC0) or is_packed(s, op, f.OP_SRC1)


@kernel
def fits_packed(s: Arrays, op: int) -> bool:
    """Tell whether no operand has one wavelet, or one FIFO slot, for each element."""
    for at in (f.OP_DEST, f.OP_SRC0, f.OP_SRC1):
        kind = s.arena[op + at + f.OPERAND_KIND]
        is_single = kind == f.INPUT or kind == f.OUTPUT or kind == f.RING
        if is_single and not is_packed(s, op, at):
            return False
    return True
