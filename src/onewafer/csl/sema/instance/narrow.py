"""Integers narrower than a register: held in the next wider one, wrapped to their width.

Those of 33 to 63 bits are held in two registers, as numbers of 64 bits.

A value in a register or in memory is always one of its type (sign- or zero-extended), so that
comparisons, `/` of unsigned numbers, `%`, `>>` and bitwise operators are those of the register.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from onewafer.csl import ir
from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.instance.constants import constant
from onewafer.image import Opcode, ScalarType

if TYPE_CHECKING:
    from onewafer.diagnostics import Span

_UNSIGNED = {1: ScalarType.U8, 2: ScalarType.U16}
"""Unsigned types narrower than a register, by bytes."""


def too_wide(type_: t.Type, span: Span | None) -> NoReturn:
    """Fail because values of a type do not exist at run time."""
    match type_:
        case t.COMPTIME_INT | t.COMPTIME_FLOAT:
            advice = "give the number a type that exists there: `@as(f32, …)`"
        case t.StructType(qualifier="packed"):
            advice = "name a field of it: a packed struct of over 64 bits is not an integer there"
        case t.StructType():
            advice = "name a field of it, take its address, or make it a `packed struct`"
        case t.FunctionType():
            advice = "call it, `p(…)`, or keep its address `p`"
        case t.ArrayType():
            advice = "take its address, or name an element of it"
        case t.IntegerType():
            advice = "integers of more than 64 bits are for compile time"
        case _:
            advice = ""
    message = f"values of type `{type_}` are not supported at run time"
    fail("unsupported-feature", message, span, help=advice)


def wrapped(type_: t.Type, value: ir.Expression) -> ir.Expression:
    """Return a value computed in the register of a type, reduced modulo the width of the type."""
    base = type_.base if isinstance(type_, t.EnumType) else type_
    held = t.register_type(base)
    if not isinstance(base, t.IntegerType) or held is None or not t.is_narrow(base):
        return value
    if not base.is_signed:
        return ir.Binary(Opcode.AND, held, value, constant(held, base.maximum))
    spare = ir.Immediate(ScalarType.U16, 8 * held.num_bytes - base.bits)
    upper = ir.Binary(Opcode.SHL, held, value, spare)
    return ir.Binary(Opcode.SHR, held, upper, spare)


def reinterpreted(source: t.Type, target: t.Type, value: ir.Expression) -> ir.Expression:
    """Return the bits of a value as a value of another type of the same width."""
    if source == target:
        return value
    held, wanted = t.register_type(source), t.register_type(target)
    assert held is not None
    assert wanted is not None
    is_short = held.num_bytes < ScalarType.U32.num_bytes
    if is_short and held.is_signed != wanted.is_signed:
        unsigned = _UNSIGNED[held.num_bytes]
        first, second = (held, unsigned) if held.is_signed else (unsigned, wanted)
        value = ir.Convert(first, second, value)
    return wrapped(target, value)
