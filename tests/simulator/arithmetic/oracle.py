"""Exact arithmetic with `Fraction`, rounded once: what the hardware formats must give."""

import struct
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Format:
    """A binary interchange format."""

    num_bits: int
    num_fraction_bits: int
    own_bias: int | None = None

    @property
    def num_exponent_bits(self):
        return self.num_bits - 1 - self.num_fraction_bits

    @property
    def bias(self):
        usual = (1 << (self.num_exponent_bits - 1)) - 1
        return usual if self.own_bias is None else self.own_bias

    @property
    def limit(self):
        """The power of two behind the largest number."""
        return Fraction(2) ** ((1 << self.num_exponent_bits) - 1 - self.bias)

    @property
    def sign(self):
        return 1 << (self.num_bits - 1)

    @property
    def infinity(self):
        return ((1 << self.num_exponent_bits) - 1) << self.num_fraction_bits

    @property
    def nan(self):
        return self.infinity | 1 << (self.num_fraction_bits - 1)

    def is_nan(self, word):
        return word & ~self.sign > self.infinity

    def is_infinite(self, word):
        return word & ~self.sign == self.infinity

    def is_finite(self, word):
        return word & ~self.sign < self.infinity

    def value(self, word):
        """The exact value of finite bits."""
        exponent = (word & ~self.sign) >> self.num_fraction_bits
        fraction = word & ((1 << self.num_fraction_bits) - 1)
        if exponent:
            fraction |= 1 << self.num_fraction_bits
        scale = Fraction(2) ** (max(exponent, 1) - self.bias - self.num_fraction_bits)
        return -fraction * scale if word & self.sign else fraction * scale

    def round(self, value, *, zero_sign=0):
        """The bits nearest to an exact value; ties go to the even ones."""
        if value == 0:
            return zero_sign
        sign = self.sign if value < 0 else 0
        value = abs(value)
        low, high = 0, self.infinity
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.value(middle) <= value else (low, middle)
        above = self.value(high) if high < self.infinity else self.limit
        below_by, above_by = value - self.value(low), above - value
        if below_by < above_by or (below_by == above_by and low % 2 == 0):
            return sign | low
        return sign | high


HALF = Format(16, 10)
BRAIN = Format(16, 7)
CEREBRAS = Format(16, 9, own_bias=42)
SINGLE = Format(32, 23)


def single(value):
    """The f32 bits of a float that f32 can hold."""
    return struct.unpack("<I", struct.pack("<f", value))[0]


def add(form, a, b, *, result=None):
    """a + b of formats `form[0]` and `form[1]`, in `result`."""
    result = result or form[0]
    if form[0].is_nan(a) or form[1].is_nan(b):
        return result.nan
    signs = a & form[0].sign != 0, b & form[1].sign != 0
    if form[0].is_infinite(a):
        opposed = form[1].is_infinite(b) and signs[0] != signs[1]
        return result.nan if opposed else result.infinity | (result.sign if signs[0] else 0)
    if form[1].is_infinite(b):
        return result.infinity | (result.sign if signs[1] else 0)
    zero_sign = result.sign if signs == (True, True) else 0
    return result.round(form[0].value(a) + form[1].value(b), zero_sign=zero_sign)


def multiply(form, a, b):
    """a · b."""
    if form.is_nan(a) or form.is_nan(b):
        return form.nan
    sign = (a ^ b) & form.sign
    if form.is_infinite(a) or form.is_infinite(b):
        is_invalid = not (a & ~form.sign and b & ~form.sign)
        return form.nan if is_invalid else sign | form.infinity
    return form.round(form.value(a) * form.value(b), zero_sign=sign)


def divide(form, a, b):
    """a / b."""
    if form.is_nan(a) or form.is_nan(b):
        return form.nan
    sign = (a ^ b) & form.sign
    if form.is_infinite(a):
        return form.nan if form.is_infinite(b) else sign | form.infinity
    if form.is_infinite(b):
        return sign
    if not b & ~form.sign:
        return sign | form.infinity if a & ~form.sign else form.nan
    return form.round(form.value(a) / form.value(b), zero_sign=sign)


def multiply_add(result, factor, a, b, c):
    """a + b · c with a in `result` and b, c in `factor`, rounded once."""
    if result.is_nan(a) or factor.is_nan(b) or factor.is_nan(c):
        return result.nan
    product_is_negative = (b ^ c) & factor.sign != 0
    if factor.is_infinite(b) or factor.is_infinite(c):
        if not (b & ~factor.sign and c & ~factor.sign):
            return result.nan
        if result.is_infinite(a) and (a & result.sign != 0) != product_is_negative:
            return result.nan
        return result.infinity | (result.sign if product_is_negative else 0)
    if result.is_infinite(a):
        return a
    both_negative = a & result.sign != 0 and product_is_negative
    exact = result.value(a) + factor.value(b) * factor.value(c)
    return result.round(exact, zero_sign=result.sign if both_negative else 0)
