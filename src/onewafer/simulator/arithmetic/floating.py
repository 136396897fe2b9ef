"""f16 and f32 arithmetic on bits: every result is rounded once, to nearest even.

In and out: register words (f16 in the low half). A sum, product or quotient of two f32 is computed
in f64 and then rounded; because 53 ≥ 2·24 + 2 that second rounding changes nothing (Figueroa,
"When is double rounding innocuous?", 1995), and with subnormal results the operations are exact in
f64 or keep a margin of five bits. f16 has more room still. What is not innocuous is the f32
multiply-add: its sum is rounded to odd in f64 first (Boldo and Melquiond, 2008).

NaN rule: an operation that gives NaN gives the one quiet NaN, 0x7e00 or 0x7fc00000; moves and
negations carry bits unchanged. *assumed*
"""

from __future__ import annotations

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

HALF_NAN = 0x7E00
HALF_INFINITY = 0x7C00
HALF_SIGN = 0x8000

_HALF_FRACTION = 0x3FF
_HALF_EXPONENT = 0x1F
_HALF_SPECIAL = 31
_HALF_POWERS = tuple(2.0 ** (exponent - 25) for exponent in range(31))
"""Weight of the last bit, by biased exponent (0, the subnormals, has the weight of 1)."""

_DOUBLE_MAGNITUDE = 0x7FFF_FFFF_FFFF_FFFF
_DOUBLE_FRACTION = (1 << 52) - 1
_DOUBLE_INFINITY = 0x7FF << 52
_DROPPED = 52 - 10
"""Fraction bits that a normal f16 does not keep."""
_REBIAS = (1023 - 15) << 52
_OVERFLOW = float_to_bits(65520.0)
"""Halfway between the largest f16 and the next power of two: rounds to infinity."""
_SMALLEST_NORMAL = float_to_bits(2.0**-14)
_UNDERFLOW = float_to_bits(2.0**-25)
"""Halfway between zero and the smallest f16: rounds to zero."""
_SUBNORMAL_SHIFT = 1023 + 52 - 24


# --- conversions ---------------------------------------------------------------------------------


@jitable
def half_to_float(word: int) -> float:
    """Return the value of f16 bits, exactly."""
    exponent = word >> 10 & _HALF_EXPONENT
    fraction = word & _HALF_FRACTION
    if exponent == _HALF_SPECIAL:
        return half_special(word, fraction)
    if exponent == 0:
        magnitude = fraction * _HALF_POWERS[1]
    else:
        magnitude = (fraction | 0x400) * _HALF_POWERS[exponent]
    return -magnitude if word & HALF_SIGN else magnitude


@jitable
def half_special(word: int, fraction: int) -> float:
    """Return the infinity or NaN of f16 bits."""
    if fraction:
        return single_to_float(SINGLE_NAN)
    return single_to_float((word & HALF_SIGN) << 16 | SINGLE_INFINITY)


@jitable
def float_to_half(value: float) -> int:
    """Return `value` rounded to f16, to nearest even, as bits; every NaN gives `HALF_NAN`."""
    bits = float_to_bits(value)
    magnitude = bits & _DOUBLE_MAGNITUDE
    sign = HALF_SIGN if bits < 0 else 0
    if magnitude > _DOUBLE_INFINITY:
        return HALF_NAN
    if magnitude >= _OVERFLOW:
        return sign | HALF_INFINITY
    if magnitude <= _UNDERFLOW:
        return sign
    if magnitude >= _SMALLEST_NORMAL:
        return sign | shift_to_even(magnitude - _REBIAS, _DROPPED)
    significand = (magnitude & _DOUBLE_FRACTION) | (1 << 52)
    return sign | shift_to_even(significand, _SUBNORMAL_SHIFT - (magnitude >> 52))


@jitable
def shift_to_even(value: int, count: int) -> int:
    """Return `value / 2**count` rounded to nearest even, for count ≥ 1."""
    return (value + (1 << (count - 1)) - 1 + (value >> count & 1)) >> count


@jitable
def half_to_single(word: int) -> int:
    """Return f16 bits as f32 bits."""
    return float_to_single(half_to_float(word))


@jitable
def single_to_half(word: int) -> int:
    """Return f32 bits rounded to f16."""
    return float_to_half(single_to_float(word))


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


# --- f16 -----------------------------------------------------------------------------------------


@jitable
def add_half(a: int, b: int) -> int:
    """Return a + b."""
    return float_to_half(half_to_float(a) + half_to_float(b))


@jitable
def sub_half(a: int, b: int) -> int:
    """Return a − b."""
    return float_to_half(half_to_float(a) - half_to_float(b))


@jitable
def mul_half(a: int, b: int) -> int:
    """Return a · b."""
    return float_to_half(half_to_float(a) * half_to_float(b))


@jitable
def div_half(a: int, b: int) -> int:
    """Return a / b; x / 0 is an infinity of the right sign, 0 / 0 is NaN."""
    if b & ~HALF_SIGN == 0:
        magnitude = a & ~HALF_SIGN
        is_invalid = magnitude == 0 or magnitude > HALF_INFINITY
        return HALF_NAN if is_invalid else (a ^ b) & HALF_SIGN | HALF_INFINITY
    return float_to_half(half_to_float(a) / half_to_float(b))


@jitable
def max_half(a: int, b: int) -> int:
    """Return the larger one; NaN if one is NaN, +0 is above −0 (*assumed*)."""
    x, y = half_to_float(a), half_to_float(b)
    if x > y:
        return a
    if y > x:
        return b
    return a & b if x == y else HALF_NAN


@jitable
def neg_half(a: int) -> int:
    """Return −a."""
    return a ^ HALF_SIGN


@jitable
def multiply_add_half(a: int, b: int, c: int) -> int:
    """Return a + b · c, rounded once.

    The product is exact in f64. Where the sum is not, it is never within an f64 rounding of a tie
    of f16: if |a| < 16, a sum inexact in f64 needs |b · c| ≥ 2⁴, hence a product that is a multiple
    of 2⁻¹⁷, and then the sum is exact; otherwise a and the ties around the sum are multiples of
    2⁻⁶, so a tie needs b · c within 2⁻³⁶ of a multiple of 2⁻⁶: of zero, which would make a itself
    a tie, or of another, which 22 significant bits cannot miss by so little.
    """
    return float_to_half(half_to_float(a) + half_to_float(b) * half_to_float(c))


@jitable
def equal_half(a: int, b: int) -> int:
    """Return 1 if a == b, else 0."""
    return 1 if half_to_float(a) == half_to_float(b) else 0


@jitable
def not_equal_half(a: int, b: int) -> int:
    """Return 1 if a != b (NaN is unequal to everything), else 0."""
    return 1 if half_to_float(a) != half_to_float(b) else 0


@jitable
def less_half(a: int, b: int) -> int:
    """Return 1 if a < b, else 0."""
    return 1 if half_to_float(a) < half_to_float(b) else 0


@jitable
def less_equal_half(a: int, b: int) -> int:
    """Return 1 if a ≤ b, else 0."""
    return 1 if half_to_float(a) <= half_to_float(b) else 0


# --- mixed ---------------------------------------------------------------------------------------


@jitable
def multiply_add_mixed(a: int, b: int, c: int) -> int:
    """Return the f32 a + b · c of an f32 and two f16, rounded once: the product is exact."""
    return float_to_single(single_to_float(a) + half_to_float(b) * half_to_float(c))


@jitable
def add_mixed(a: int, b: int) -> int:
    """Return the f32 a + b of an f32 and an f16."""
    return float_to_single(single_to_float(a) + half_to_float(b))


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
def scale_half(a: int, exponent: int) -> int:
    """Return a · 2^exponent, one rounding."""
    return float_to_half(half_to_float(a) * power_of_two(exponent))


@jitable
def scale_single(a: int, exponent: int) -> int:
    """Return a · 2^exponent, one rounding: the product is exact in f64."""
    return float_to_single(single_to_float(a) * power_of_two(exponent))
