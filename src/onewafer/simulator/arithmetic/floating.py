"""Arithmetic on the bits of floats: every result is rounded once, to nearest even.

In and out: register words (16-bit floats in the low half, with their `ScalarType` as `kind`). A
sum, product or quotient of two f32 is computed in f64 and then rounded; because 53 ≥ 2·24 + 2 that
second rounding changes nothing (Figueroa, "When is double rounding innocuous?", 1995), and with
subnormal results the operations are exact in f64 or keep a margin of five bits. 16-bit floats have
more room still. What is not innocuous is the multiply-add of f32, bf16 and cb16: its sum is rounded
to odd in f64 first (Boldo and Melquiond, 2008).

NaN rule: an operation that gives NaN gives the one quiet NaN of its format (0x7fc00000; 0x7e00,
0x7fc0 and 0x7f00 of f16, bf16 and cb16); moves and negations carry bits unchanged. *assumed*
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.image import DsdOperation, ScalarType
from onewafer.simulator.arithmetic.compiled import (
    SINGLE_INFINITY,
    SINGLE_NAN,
    SINGLE_SIGN,
    bits_to_float,
    float_to_bits,
    float_to_single,
    jitable,
    single_to_float,
)

if TYPE_CHECKING:
    from collections.abc import Callable

HALF_SIGN = 0x8000

_F16, _BF16, _CB16 = map(int, (ScalarType.F16, ScalarType.BF16, ScalarType.CB16))
_FORMATS = {
    # bits of the fraction, bias of the exponent
    ScalarType.F16: (10, 15),
    ScalarType.BF16: (7, 127),
    ScalarType.CB16: (9, 42),
}
"""16-bit floats, laid out as IEEE 754 lays its formats out (M148)."""


HALF_SHIFT = 6
"""Behind the number of a DSD operation: the 16-bit float of the program, if that is not f16."""
OPERATION_MASK = (1 << HALF_SHIFT) - 1
"""Which operation it is."""
assert max(DsdOperation) <= OPERATION_MASK


def _by_kind(of: Callable[[int, int], int]) -> tuple[int, ...]:
    """Return a number of each format, by the number of its `ScalarType`."""
    return tuple(of(*_FORMATS[kind]) if kind in _FORMATS else 0 for kind in ScalarType)


def _largest_exponent(fraction: int, bias: int) -> int:
    return (1 << 15 - fraction) - 2 - bias


FRACTION_BITS = _by_kind(lambda fraction, _: fraction)
INFINITIES = _by_kind(lambda fraction, _: 0x8000 - (1 << fraction))
NANS = _by_kind(lambda fraction, _: 0x8000 - (1 << fraction - 1))
ONES = _by_kind(lambda fraction, bias: bias << fraction)

_HALF_POWERS = tuple(2.0 ** (exponent - 25) for exponent in range(31))
"""Of f16: weight of the last bit, by biased exponent (0, the subnormals, has the weight of 1)."""
_CEREBRAS_POWERS = tuple(2.0 ** (exponent - 51) for exponent in range(63))
"""The same of cb16."""

_DOUBLE_MAGNITUDE = 0x7FFF_FFFF_FFFF_FFFF
_DOUBLE_FRACTION = (1 << 52) - 1
_DOUBLE_INFINITY = 0x7FF << 52
_DROPPED = _by_kind(lambda fraction, _: 52 - fraction)
"""Fraction bits that a normal number does not keep."""
_REBIASES = _by_kind(lambda _, bias: (1023 - bias) << 52)
_OVERFLOWS = _by_kind(
    lambda fraction, bias: float_to_bits(
        (2.0 - 2.0 ** (-fraction - 1)) * 2.0 ** _largest_exponent(fraction, bias)
    )
)
"""Halfway between the largest number and the next power of two: rounds to infinity."""
_SMALLEST_NORMALS = _by_kind(lambda _, bias: float_to_bits(2.0 ** (1 - bias)))
_UNDERFLOWS = _by_kind(lambda fraction, bias: float_to_bits(2.0 ** -(bias + fraction)))
"""Halfway between zero and the smallest number: rounds to zero."""
_SUBNORMAL_SHIFTS = _by_kind(lambda fraction, bias: 1023 + 53 - bias - fraction)


# --- conversions ---------------------------------------------------------------------------------


@jitable
def half_to_float(word: int, kind: int) -> float:
    """Return the value of the bits of a 16-bit float, exactly; `kind` says of which format."""
    if kind == _BF16:
        return single_to_float(word << 16)
    if kind == _CB16:
        return scaled_to_float(word, 9, 63, _CEREBRAS_POWERS)
    return scaled_to_float(word, 10, 31, _HALF_POWERS)


@jitable
def scaled_to_float(
    word: int, fraction_bits: int, special: int, powers: tuple[float, ...]
) -> float:
    """Return the value of a sign, an exponent and a fraction; `special` is that of infinities."""
    exponent = word >> fraction_bits & special
    fraction = word & (1 << fraction_bits) - 1
    if exponent == special:
        if fraction:
            return single_to_float(SINGLE_NAN)
        return single_to_float((word & HALF_SIGN) << 16 | SINGLE_INFINITY)
    if exponent == 0:
        magnitude = fraction * powers[1]
    else:
        magnitude = (fraction | 1 << fraction_bits) * powers[exponent]
    return -magnitude if word & HALF_SIGN else magnitude


@jitable
def float_to_half(value: float, kind: int) -> int:
    """Return `value` rounded to a 16-bit float, to nearest even, as bits; NaN gives the one NaN."""
    bits = float_to_bits(value)
    magnitude = bits & _DOUBLE_MAGNITUDE
    sign = HALF_SIGN if bits < 0 else 0
    if magnitude > _DOUBLE_INFINITY:
        return NANS[kind]
    if magnitude >= _OVERFLOWS[kind]:
        return sign | INFINITIES[kind]
    if magnitude <= _UNDERFLOWS[kind]:
        return sign
    if magnitude >= _SMALLEST_NORMALS[kind]:
        return sign | shift_to_even(magnitude - _REBIASES[kind], _DROPPED[kind])
    significand = (magnitude & _DOUBLE_FRACTION) | (1 << 52)
    return sign | shift_to_even(significand, _SUBNORMAL_SHIFTS[kind] - (magnitude >> 52))


def largest_half(kind: int) -> float:
    """Return the largest finite number of a 16-bit float."""
    return half_to_float(INFINITIES[kind] - 1, kind)


@jitable
def half_of_operation(operation: int) -> int:
    """Return the 16-bit float that an operation computes with, see `HALF_SHIFT`."""
    kind = operation >> HALF_SHIFT
    return kind or _F16


@jitable
def shift_to_even(value: int, count: int) -> int:
    """Return `value / 2**count` rounded to nearest even, for count ≥ 1."""
    return (value + (1 << (count - 1)) - 1 + (value >> count & 1)) >> count


@jitable
def half_to_single(word: int, kind: int) -> int:
    """Return the bits of a 16-bit float as f32 bits."""
    return float_to_single(half_to_float(word, kind))


@jitable
def single_to_half(word: int, kind: int) -> int:
    """Return f32 bits rounded to a 16-bit float."""
    return float_to_half(single_to_float(word), kind)


# --- f32 -----------------------------------------------------------------------------------------


@jitable
def add_single(a: int, b: int) -> int:
    """Return a + b."""
    return float_to_single(single_to_float(a) + single_to_float(b))


@jitable
def sub_single(a: int, b: int) -> int:
    """Return a − b."""
    return float_to_single(single_to_float(a) - single_to_float(b))


@jitable
def mul_single(a: int, b: int) -> int:
    """Return a · b."""
    return float_to_single(single_to_float(a) * single_to_float(b))


@jitable
def div_single(a: int, b: int) -> int:
    """Return a / b; x / 0 is an infinity of the right sign, 0 / 0 is NaN."""
    if b & ~SINGLE_SIGN == 0:
        magnitude = a & ~SINGLE_SIGN
        is_invalid = magnitude == 0 or magnitude > SINGLE_INFINITY
        return SINGLE_NAN if is_invalid else (a ^ b) & SINGLE_SIGN | SINGLE_INFINITY
    return float_to_single(single_to_float(a) / single_to_float(b))


@jitable
def max_single(a: int, b: int) -> int:
    """Return the larger one; NaN if one is NaN, +0 is above −0 (*assumed*)."""
    x, y = single_to_float(a), single_to_float(b)
    if x > y:
        return a
    if y > x:
        return b
    return a & b if x == y else SINGLE_NAN


@jitable
def neg_single(a: int) -> int:
    """Return −a."""
    return a ^ SINGLE_SIGN


@jitable
def multiply_add_single(a: int, b: int, c: int) -> int:
    """Return a + b · c, rounded once."""
    product = single_to_float(b) * single_to_float(c)
    return float_to_single(add_to_odd(single_to_float(a), product))


@jitable
def add_to_odd(a: float, b: float) -> float:
    """Return a + b; where f64 cannot hold it, that neighbour whose last bit is 1."""
    total = a + b
    part = total - a
    error = (a - (total - part)) + (b - part)
    if error == 0.0 or error != error:  # noqa: PLR0124 - NaN: the total is not finite
        return total
    bits = float_to_bits(total)
    if bits & 1:
        return total
    return bits_to_float(bits + 1 if (error > 0.0) == (total > 0.0) else bits - 1)


@jitable
def equal_single(a: int, b: int) -> int:
    """Return 1 if a == b, else 0."""
    return 1 if single_to_float(a) == single_to_float(b) else 0


@jitable
def not_equal_single(a: int, b: int) -> int:
    """Return 1 if a != b (NaN is unequal to everything), else 0."""
    return 1 if single_to_float(a) != single_to_float(b) else 0


@jitable
def less_single(a: int, b: int) -> int:
    """Return 1 if a < b, else 0."""
    return 1 if single_to_float(a) < single_to_float(b) else 0


@jitable
def less_equal_single(a: int, b: int) -> int:
    """Return 1 if a ≤ b, else 0."""
    return 1 if single_to_float(a) <= single_to_float(b) else 0


# --- 16-bit floats -------------------------------------------------------------------------------


@jitable
def add_half(a: int, b: int, kind: int) -> int:
    """Return a + b."""
    return float_to_half(half_to_float(a, kind) + half_to_float(b, kind), kind)


@jitable
def sub_half(a: int, b: int, kind: int) -> int:
    """Return a − b."""
    return float_to_half(half_to_float(a, kind) - half_to_float(b, kind), kind)


@jitable
def mul_half(a: int, b: int, kind: int) -> int:
    """Return a · b."""
    return float_to_half(half_to_float(a, kind) * half_to_float(b, kind), kind)


@jitable
def div_half(a: int, b: int, kind: int) -> int:
    """Return a / b; x / 0 is an infinity of the right sign, 0 / 0 is NaN."""
    if b & ~HALF_SIGN == 0:
        magnitude = a & ~HALF_SIGN
        is_invalid = magnitude == 0 or magnitude > INFINITIES[kind]
        return NANS[kind] if is_invalid else (a ^ b) & HALF_SIGN | INFINITIES[kind]
    return float_to_half(half_to_float(a, kind) / half_to_float(b, kind), kind)


@jitable
def max_half(a: int, b: int, kind: int) -> int:
    """Return the larger one; NaN if one is NaN, +0 is above −0 (*assumed*)."""
    x, y = half_to_float(a, kind), half_to_float(b, kind)
    if x > y:
        return a
    if y > x:
        return b
    return a & b if x == y else NANS[kind]


@jitable
def neg_half(a: int) -> int:
    """Return −a."""
    return a ^ HALF_SIGN


@jitable
def multiply_add_half(a: int, b: int, c: int) -> int:
    """Return a + b · c of f16, rounded once.

    The product is exact in f64. Where the sum is not, it is never within an f64 rounding of a tie
    of f16: if |a| < 16, a sum inexact in f64 needs |b · c| ≥ 2⁴, hence a product that is a multiple
    of 2⁻¹⁷, and then the sum is exact; otherwise a and the ties around the sum are multiples of
    2⁻⁶, so a tie needs b · c within 2⁻³⁶ of a multiple of 2⁻⁶: of zero, which would make a itself
    a tie, or of another, which 22 significant bits cannot miss by so little.
    """
    product = half_to_float(b, _F16) * half_to_float(c, _F16)
    return float_to_half(half_to_float(a, _F16) + product, _F16)


@jitable
def multiply_add_wide(a: int, b: int, c: int, kind: int) -> int:
    """Return a + b · c of bf16 or cb16, rounded once: their exponents reach too far for f64."""
    product = half_to_float(b, kind) * half_to_float(c, kind)
    return float_to_half(add_to_odd(half_to_float(a, kind), product), kind)


@jitable
def equal_half(a: int, b: int, kind: int) -> int:
    """Return 1 if a == b, else 0."""
    return 1 if half_to_float(a, kind) == half_to_float(b, kind) else 0


@jitable
def not_equal_half(a: int, b: int, kind: int) -> int:
    """Return 1 if a != b (NaN is unequal to everything), else 0."""
    return 1 if half_to_float(a, kind) != half_to_float(b, kind) else 0


@jitable
def less_half(a: int, b: int, kind: int) -> int:
    """Return 1 if a < b, else 0."""
    return 1 if half_to_float(a, kind) < half_to_float(b, kind) else 0


@jitable
def less_equal_half(a: int, b: int, kind: int) -> int:
    """Return 1 if a ≤ b, else 0."""
    return 1 if half_to_float(a, kind) <= half_to_float(b, kind) else 0


# --- mixed ---------------------------------------------------------------------------------------


@jitable
def multiply_add_mixed(a: int, b: int, c: int, kind: int) -> int:
    """Return the f32 a + b · c of an f32 and two 16-bit floats, rounded once.

    The product is exact in f64. It has at most 22 significant bits, so that it is an f32, or so
    small that a sum with it is exact in f64 or rounds to a.
    """
    return float_to_single(single_to_float(a) + half_to_float(b, kind) * half_to_float(c, kind))


@jitable
def add_mixed(a: int, b: int, kind: int) -> int:
    """Return the f32 a + b of an f32 and a 16-bit float."""
    return float_to_single(single_to_float(a) + half_to_float(b, kind))


# --- scaling by powers of two --------------------------------------------------------------------

_MOST_SCALE = 300
"""Beyond it every f32 is zero or infinite: 2^±300 times one is outside of f32, inside of f64."""


@jitable
def power_of_two(exponent: int) -> float:
    """Return 2^exponent, the exponent an i16 in the low half and cut to ±300."""
    number = (exponent & 0xFFFF ^ 0x8000) - 0x8000
    number = min(max(number, -_MOST_SCALE), _MOST_SCALE)
    return bits_to_float(1023 + number << 52)


@jitable
def scale_half(a: int, exponent: int, kind: int) -> int:
    """Return a · 2^exponent, one rounding."""
    return float_to_half(half_to_float(a, kind) * power_of_two(exponent), kind)


@jitable
def scale_single(a: int, exponent: int) -> int:
    """Return a · 2^exponent, one rounding: the product is exact in f64."""
    return float_to_single(single_to_float(a) * power_of_two(exponent))
