"""Results of ADDC16, FNORMH and FNORMS: no public text defines them; this module does.

The SDK documents "add two 16-bit integers, with carry" and "normalize a floating point value". Its
SIMD table says indirectly that the carry goes from element to element: on WSE-2, ADDC16 is the only
addition with one element a cycle. It is not published that numbers of many words begin without a
carry, but they could not be added otherwise. Nor is it published what a normalised value is: a
significand in [1, 2) becomes the value again by the scaling by 2^n, which is documented beside it.
"""

from __future__ import annotations

from onewafer.simulator.arithmetic.compiled import SINGLE_INFINITY, SINGLE_SIGN, jitable
from onewafer.simulator.arithmetic.floating import (
    HALF_SIGN,
    fraction_bits,
    half_infinity,
    half_one,
)

FIRST_CARRY = 0
"""The carry into the first element of an operation (M140)."""
_SINGLE_LEADING, _SINGLE_ONE = 1 << 23, 127 << 23


@jitable
def add_with_carry(a: int, b: int, carry: int) -> int:
    """Return the low 16 bits of a + b + carry (M140)."""
    return a + b + carry & 0xFFFF


@jitable
def carry_of(a: int, b: int, carry: int) -> int:
    """Return the carry into the next element (M140)."""
    return (a & 0xFFFF) + (b & 0xFFFF) + carry >> 16


@jitable
def normalize_half(word: int, kind: int) -> int:
    """Return the significand of a 16-bit float, in [1, 2), with its sign (M141)."""
    return normalize(word, HALF_SIGN, half_infinity(kind), 1 << fraction_bits(kind), half_one(kind))


@jitable
def normalize_single(word: int) -> int:
    """Return the significand of an f32, in [1, 2), with its sign (M141)."""
    return normalize(word, SINGLE_SIGN, SINGLE_INFINITY, _SINGLE_LEADING, _SINGLE_ONE)


@jitable
def normalize(word: int, sign: int, infinity: int, leading: int, one: int) -> int:
    """Return a float with the exponent of 1; zeros, infinities and NaN as they are."""
    magnitude = word & sign - 1
    if magnitude == 0 or magnitude >= infinity:
        return word
    fraction = magnitude & leading - 1
    if magnitude < leading:  # subnormal
        while fraction < leading:
            fraction <<= 1
    return word & sign | one | fraction & leading - 1
