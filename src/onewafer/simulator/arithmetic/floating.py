"""Arithmetic on the bits of floats: every result is rounded once, to nearest even.

In and out: register words (16-bit floats in the low half, with their `ScalarType` as `kind`). A
sum, product or quotient of two f32 is computed in f64 and then rounded; because 53 ≥ 2·24 + 2 that
second rounding changes nothing (Figueroa, "When is double rounding innocuous?", 1995), and with
subnormal results the operations are exact in f64 or keep a margin of five bits. 16-bit floats have
more room still. The exception is the multiply-add of f32, bf16 and cb16: its sum is rounded
to odd in f64 first (Boldo and Melquiond, 2008).

NaN rule: an operation that gives NaN gives the one quiet NaN of its format (0x7fc00000; 0x7e00,
0x7fc0 and 0x7f00 of f16, bf16 and cb16); moves and negations carry bits unchanged. *assumed*
"""

from __future__ import annotations

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

HALF_SIGN = 0x8000

_BF16, _CB16, _F16 = map(int, (ScalarType.BF16, ScalarType.CB16, ScalarType.F16))

HALF_SHIFT = 6
"""Position, in the kind of an operation, of the program's 16-bit float if it is not f16."""
OPERATION_MASK = (1 << HALF_SHIFT) - 1
"""Mask of the operation in its kind."""
assert max(DsdOperation) <= OPERATION_MASK


_DOUBLE_BITS = 52
"""Bits of the fraction of an f64."""
_DOUBLE_BIAS = 1023
_DOUBLE_MAGNITUDE = 0x7FFF_FFFF_FFFF_FFFF
_DOUBLE_FRACTION = (1 << _DOUBLE_BITS) - 1
_DOUBLE_INFINITY = 0x7FF << _DOUBLE_BITS


# --- formats -------------------------------------------------------------------------------------

# What follows from a format is computed, not looked up: compiled, an index in a tuple is a branch
# for each of its elements, wherever 16-bit floats are computed.


@jitable
def fraction_bits(kind: int) -> int:
    """Return how many bits of a 16-bit float are its fraction, as in IEEE 754 (M148)."""
    if kind == _BF16:
        return 7
    return 9 if kind == _CB16 else 10


@jitable
def exponent_bias(kind: int) -> int:
    """Return the bias of the exponent of a float."""
    if kind == _F16:
        return 15
    return 42 if kind == _CB16 else 127


@jitable
def half_infinity(kind: int) -> int:
    """Return the bits of the infinity of a 16-bit float."""
    return 0x8000 - (1 << fraction_bits(kind))


@jitable
def half_nan(kind: int) -> int:
    """Return the bits of the one NaN of a 16-bit float."""
    return 0x8000 - (1 << fraction_bits(kind) - 1)


@jitable
def half_one(kind: int) -> int:
    """Return the bits of 1.0 as a 16-bit float."""
    return exponent_bias(kind) << fraction_bits(kind)


@jitable
def smallest_normal(kind: int) -> float:
    """Return the smallest number of a float that is not subnormal."""
    return bits_to_float(_DOUBLE_BIAS + 1 - exponent_bias(kind) << _DOUBLE_BITS)


# --- conversions ---------------------------------------------------------------------------------


@jitable
def half_to_float(word: int, kind: int) -> float:
    """Return the exact value of the bits of a 16-bit float; `kind` is its format."""
    if kind == _BF16:
        return single_to_float(word << 16)
    if kind == _CB16:
        return small_to_float(word, 9, 42)
    return small_to_float(word, 10, 15)


@jitable
def small_to_float(word: int, num_bits: int, bias: int) -> float:
    """Return the value of a 16-bit float with `num_bits` of fraction and this bias."""
    special = (1 << 15 - num_bits) - 1
    exponent = word >> num_bits & special
    fraction = word & (1 << num_bits) - 1
    if exponent == special:
        if fraction:
            return single_to_float(SINGLE_NAN)
        return single_to_float((word & HALF_SIGN) << 16 | SINGLE_INFINITY)
    if exponent == 0:
        last = _DOUBLE_BIAS + 1 - bias - num_bits
        magnitude = fraction * bits_to_float(last << _DOUBLE_BITS)
    else:
        rebiased = exponent + _DOUBLE_BIAS - bias
        magnitude = bits_to_float(rebiased << _DOUBLE_BITS | fraction << _DOUBLE_BITS - num_bits)
    return -magnitude if word & HALF_SIGN else magnitude


@jitable
def float_to_half(value: float, kind: int) -> int:
    """Return `value` rounded to a 16-bit float, to nearest even, as bits; NaN gives the one NaN."""
    num_bits = fraction_bits(kind)
    dropped = _DOUBLE_BITS - num_bits
    first = _DOUBLE_BIAS + 1 - exponent_bias(kind)  # exponent of the smallest normal number
    last = first + (1 << 15 - num_bits) - 3  # and of the largest
    # Halfway between the largest number and the next power of two is rounded to infinity.
    overflow = last << _DOUBLE_BITS | (2 << num_bits) - 1 << dropped - 1
    bits = float_to_bits(value)
    magnitude = bits & _DOUBLE_MAGNITUDE
    sign = HALF_SIGN if bits < 0 else 0
    if magnitude > _DOUBLE_INFINITY:
        return half_nan(kind)
    if magnitude >= overflow:
        return sign | half_infinity(kind)
    if magnitude <= first - 1 - num_bits << _DOUBLE_BITS:  # half of the smallest number
        return sign
    if magnitude >= first << _DOUBLE_BITS:
        return sign | shift_to_even(magnitude - (first - 1 << _DOUBLE_BITS), dropped)
    significand = (magnitude & _DOUBLE_FRACTION) | (1 << _DOUBLE_BITS)
    return sign | shift_to_even(significand, first + dropped - (magnitude >> _DOUBLE_BITS))


def largest_half(kind: int) -> float:
    """Return the largest finite number of a 16-bit float."""
    return half_to_float(half_infinity(kind) - 1, kind)


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
    """Return a + b; if f64 cannot hold it, the neighbour whose last bit is 1."""
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
        is_invalid = magnitude == 0 or magnitude > half_infinity(kind)
        return half_nan(kind) if is_invalid else (a ^ b) & HALF_SIGN | half_infinity(kind)
    return float_to_half(half_to_float(a, kind) / half_to_float(b, kind), kind)


@jitable
def max_half(a: int, b: int, kind: int) -> int:
    """Return the larger one; NaN if one is NaN, +0 is above −0 (*assumed*)."""
    x, y = half_to_float(a, kind), half_to_float(b, kind)
    if x > y:
        return a
    if y > x:
        return b
    return a & b if x == y else half_nan(kind)


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
    return bits_to_float(_DOUBLE_BIAS + number << _DOUBLE_BITS)


@jitable
def scale_half(a: int, exponent: int, kind: int) -> int:
    """Return a · 2^exponent, one rounding."""
    return float_to_half(half_to_float(a, kind) * power_of_two(exponent), kind)


@jitable
def scale_single(a: int, exponent: int) -> int:
    """Return a · 2^exponent, one rounding: the product is exact in f64."""
    return float_to_single(single_to_float(a) * power_of_two(exponent))
