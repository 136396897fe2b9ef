"""Floating point exceptions of programs that can unmask them (M147).

In such a program, instructions that can raise one are marked in their opcode, operations in their
kind, so other programs have no overhead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.image import Opcode
from onewafer.simulator.arithmetic.exceptions import (
    RAISING,
    of_conversion,
    of_element,
    of_scalars,
)
from onewafer.simulator.fast.kernels.compute_element.scalars import compute_binary, convert
from onewafer.simulator.fast.machine_code.compilation import kernel, shared
from onewafer.simulator.fast.state import fields as f
from onewafer.simulator.fast.state.arrays import int64

if TYPE_CHECKING:
    from onewafer.simulator.fast.state.arrays import Arrays

_CONVERT = int(Opcode.CONVERT)
RAISING_BITS = sum(1 << operation for operation in RAISING)
"""A bit for each operation that can raise one."""


@kernel
def kind_of(s: Arrays, op: int) -> int:
    """Return the kind of a live operation, without its mark."""
    return s.arena[op + f.OP_KIND] & f.KIND_MASK


@kernel
def note_exceptions(s: Arrays, pe: int, raised: int) -> None:
    """Stop the program if one of the raised exceptions is unmasked."""
    unmasked = raised & int64(s.unmasked_exceptions[pe])
    if unmasked:
        s.clock[f.FAULT] = f.EXCEPTION_FAULT
        s.clock[f.FAULT_DETAIL] = unmasked


@shared
def exceptions_of(kind: int, a: int, b: int, scalar: int, word: int) -> int:
    """Return the exceptions of an element."""
    return of_element(kind, a, b, scalar, word)


@shared
def execute_checked(s: Arrays, pe: int, row: int, imm: int) -> None:
    """Execute an instruction on registers that can raise an exception."""
    opcode = s.code[row, f.CODE_OPCODE] & f.KIND_MASK
    kind: int = s.code[row, f.CODE_TYPE]
    a = int64(s.registers[pe, s.code[row, f.CODE_RA]])
    if opcode == _CONVERT:
        word = convert(kind, imm, a)
        raised = of_conversion(kind, imm, a, word)
    else:
        b = int64(s.registers[pe, s.code[row, f.CODE_RB]])
        word = compute_binary(opcode, kind, a, b)
        raised = of_scalars(opcode, kind, a, b, word)
    s.registers[pe, s.code[row, f.CODE_RD]] = word
    note_exceptions(s, pe, raised)
