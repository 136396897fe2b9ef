"""Integers of widths that no register has: they lie in the next wider one, wrapped to their width.

A value in a register or in memory is always one of its type (sign- or zero-extended), so that
comparisons, `/` of unsigned numbers, `%`, `>>` and bitwise operators are those of the register.
"""

from __future__ import annotations

from onewafer.csl import ir
from onewafer.csl.sema import types as t
from onewafer.image import Opcode, ScalarType


def wrapped(type_: t.Type, value: ir.Expression) -> ir.Expression:
    """Return what was computed in the register of a type, reduced modulo the width of the type."""
    base = type_.base if isinstance(type_, t.EnumType) else type_
    held = t.scalar_type(base)
    if not isinstance(base, t.IntegerType) or held is None or not t.is_narrow(base):
        return value
    if not base.is_signed:
        return ir.Binary(Opcode.AND, held, value, ir.Immediate(held, base.maximum))
    spare = ir.Immediate(ScalarType.U16, 8 * held.num_bytes - base.bits)
    upper = ir.Binary(Opcode.SHL, held, value, spare)
    return ir.Binary(Opcode.SHR, held, upper, spare)
