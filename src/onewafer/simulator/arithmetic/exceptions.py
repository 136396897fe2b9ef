"""Floating point exceptions (M147), derived in f64 from the operands and the result.

Every result but a quotient is a + b · c of f32 or 16-bit floats, rounded once. Such a product is
exact in f64, and the sum is exactly two f64: the rounded one and its error (Knuth's two-sum;
nothing here comes near the ends of f64). The reference engine computes the same with fractions.
"""

from __future__ import annotations

from math import floor
from typing import Final

from onewafer.image import EXCEPTIONS_WORD, DsdOperation, Opcode, ScalarType
from onewafer.simulator.arithmetic.compiled import jitable, single_to_float
from onewafer.simulator.arithmetic.floating import (
    OPERATION_MASK,
    half_of_operation,
    half_to_float,
    power_of_two,
    smallest_normal,
)
from onewafer.simulator.arithmetic.integer import to_number, wrap
from onewafer.simulator.arithmetic.registers import KIND_SHIFT, PENDING_REGISTER

UNDERFLOW, OVERFLOW, INEXACT, INVALID, DIVISION = (1 << bit for bit in range(3, 8))
"""Bits of the mask, after those of counters and software, which never occur."""
NAMES: Final = {
    UNDERFLOW: "FP_UNDERFLOW",
    OVERFLOW: "FP_OVERFLOW",
    INEXACT: "FP_INEXACT",
    INVALID: "FP_INVALID",
    DIVISION: "FP_DIV_BY_0",
}
EXCEPTIONS_NUMBER = 3
"""The register of exceptions, among registers of the last kind (`registers`), as `MASK_NUMBER`."""
EXCEPTIONS_REGISTER = PENDING_REGISTER << KIND_SHIFT | EXCEPTIONS_NUMBER
_ADDRESS = 2 * EXCEPTIONS_WORD
_REGISTER_BYTES = 2

_D = DsdOperation
RAISING: Final = frozenset(
    {
        *(_D.FADDH, _D.FADDS, _D.FADDHS, _D.FSUBH, _D.FSUBS, _D.FMULH, _D.FMULS),
        *(_D.FMACH, _D.FMACS, _D.FMACHS, _D.FS2H, _D.FSCALEH, _D.FSCALES),
        *(_D.FH2XP16, _D.FS2XP16, _D.XP162FH),
    }
)
"""DSD operations whose elements can raise an exception."""
_FADDH, _FADDS, _FADDHS = int(_D.FADDH), int(_D.FADDS), int(_D.FADDHS)
_FSUBH, _FSUBS = int(_D.FSUBH), int(_D.FSUBS)
_FMULH, _FMULS = int(_D.FMULH), int(_D.FMULS)
_FMACH, _FMACS, _FMACHS = int(_D.FMACH), int(_D.FMACS), int(_D.FMACHS)
_FS2H, _FSCALEH, _FSCALES = int(_D.FS2H), int(_D.FSCALEH), int(_D.FSCALES)
_FH2XP16, _FS2XP16, _XP162FH = int(_D.FH2XP16), int(_D.FS2XP16), int(_D.XP162FH)

_ADD, _SUB, _MUL, _DIV = int(Opcode.ADD), int(Opcode.SUB), int(Opcode.MUL), int(Opcode.DIV)
_F16, _F32, _I16 = int(ScalarType.F16), int(ScalarType.F32), int(ScalarType.I16)
_LIMITS = tuple(2.0 ** (8 * t.num_bytes - t.is_signed) for t in ScalarType)
"""The first number that is too large for an integer type."""
_SIGNED = tuple(t.is_signed for t in ScalarType)


def can_raise(opcode: Opcode, kind: int, target: int) -> bool:
    """Tell whether an instruction on scalars can raise an exception; `target` is of CONVERT."""
    if opcode is Opcode.CONVERT:
        types = (ScalarType(kind), ScalarType(target))
        return ScalarType.BOOL not in types and any(t.is_float for t in types)
    is_arithmetic = opcode in (Opcode.ADD, Opcode.SUB, Opcode.MUL, Opcode.DIV)
    return is_arithmetic and ScalarType(kind).is_float


@jitable
def is_exceptions_register(address: int, num_bytes: int) -> bool:
    """Tell whether the mask of exceptions is the register at a byte address."""
    return address == _ADDRESS and num_bytes == _REGISTER_BYTES


@jitable
def of_scalars(opcode: int, kind: int, a: int, b: int, word: int) -> int:
    """Return the exceptions of ADD, SUB, MUL or DIV of two floats with the result `word`."""
    x, y, result = value_of(a, kind), value_of(b, kind), value_of(word, kind)
    smallest = smallest_normal(kind)
    if opcode == _ADD:
        return of_sum(x, y, 1.0, result, smallest)
    if opcode == _SUB:
        return of_sum(x, y, -1.0, result, smallest)
    if opcode == _MUL:
        return of_sum(0.0, x, y, result, smallest)
    return of_quotient(x, y, result, smallest)


@jitable
def of_conversion(source: int, target: int, a: int, word: int) -> int:
    """Return the exceptions of a conversion from or to a type, if one side is a float."""
    value = value_of(a, source)
    if target >= _F16:
        return of_sum(value, 0.0, 0.0, value_of(word, target), smallest_normal(target))
    return of_integer(value, target)


@jitable
def of_element(kind: int, a: int, b: int, scalar: int, word: int) -> int:
    """Return the exceptions of an element of a DSD operation with the result `word`.

    `kind` is the operation with the 16-bit float of the program, see `HALF_SHIFT`.
    """
    operation, half = kind & OPERATION_MASK, half_of_operation(kind)
    if operation in (_FADDH, _FSUBH, _FMULH, _FADDS, _FSUBS, _FMULS):
        held = half if operation in (_FADDH, _FSUBH, _FMULH) else _F32
        if operation in (_FADDH, _FADDS):
            return of_scalars(_ADD, held, a, b, word)
        return of_scalars(_SUB if operation in (_FSUBH, _FSUBS) else _MUL, held, a, b, word)
    if operation in (_FMACH, _FMACS, _FMACHS, _FADDHS, _FSCALEH, _FSCALES):
        return of_fused_element(kind, a, b, scalar, word)
    if operation == _FS2H:
        return of_conversion(_F32, half, b, word)
    if operation == _FH2XP16:
        return of_conversion(half, _I16, b, word)
    if operation == _FS2XP16:
        return of_conversion(_F32, _I16, b, word)
    return of_conversion(_I16, half, b, word) if operation == _XP162FH else 0


@jitable
def of_fused_element(kind: int, a: int, b: int, scalar: int, word: int) -> int:
    """Return the exceptions of a product, a mixed-type sum or a multiply-add."""
    operation, half = kind & OPERATION_MASK, half_of_operation(kind)
    held = half if operation in (_FMACH, _FSCALEH) else _F32
    result, smallest = value_of(word, held), smallest_normal(held)
    if operation in (_FSCALEH, _FSCALES):
        return of_sum(0.0, value_of(b, held), power_of_two(scalar), result, smallest)
    factors = half if operation in (_FMACHS, _FADDHS) else held
    factor = 1.0 if operation == _FADDHS else value_of(scalar, factors)
    return of_sum(value_of(a, held), value_of(b, factors), factor, result, smallest)


@jitable
def value_of(word: int, kind: int) -> float:
    """Return the exact value of the low bits of a word: elements are not sign-extended."""
    if kind == _F32:
        return single_to_float(word)
    if kind >= _F16:
        return half_to_float(word & 0xFFFF, kind)
    return float(to_number(wrap(word, kind), kind))


@jitable
def is_finite(value: float) -> bool:
    """Tell whether a value is neither an infinity nor NaN."""
    return value - value == 0.0


@jitable
def of_sum(a: float, b: float, c: float, result: float, smallest: float) -> int:
    """Return the exceptions of a + b · c; `smallest` is the smallest normal of the result type."""
    if a != a or b != b or c != c:  # noqa: PLR0124 - NaN
        return 0
    if result != result:  # noqa: PLR0124  # NaN
        return INVALID
    if not (is_finite(a) and is_finite(b) and is_finite(c)):
        return 0
    if not is_finite(result):
        return OVERFLOW | INEXACT
    product = b * c
    total = a + product
    part = total - a
    error = (a - (total - part)) + (product - part)
    if error == 0.0 and total == result:
        return 0
    magnitude = abs(total)
    shrinks = (error < 0.0) if total > 0.0 else (error > 0.0)
    is_tiny = magnitude < smallest or (magnitude == smallest and shrinks)
    return INEXACT | UNDERFLOW if is_tiny else INEXACT


@jitable
def of_quotient(a: float, b: float, result: float, smallest: float) -> int:
    """Return the exceptions of a / b, as `of_sum`."""
    if a != a or b != b:  # noqa: PLR0124  # NaN
        return 0
    if result != result:  # noqa: PLR0124  # NaN
        return INVALID
    if not (is_finite(a) and is_finite(b)):
        return 0
    if not is_finite(result):
        return DIVISION if b == 0.0 else OVERFLOW | INEXACT
    if result * b == a:
        return 0
    return INEXACT | UNDERFLOW if abs(a) < smallest * abs(b) else INEXACT


@jitable
def of_integer(value: float, kind: int) -> int:
    """Return the exceptions of a float's conversion to an integer, toward zero."""
    limit = _LIMITS[kind]
    lowest = -limit - 1.0 if _SIGNED[kind] else -1.0
    if not lowest < value < limit:
        return INVALID
    return 0 if floor(value) == value else INEXACT
