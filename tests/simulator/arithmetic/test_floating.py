"""Floats against exact arithmetic: directed double-rounding cases and all bit patterns."""

import struct
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.image import DsdOperation, Opcode, ScalarType
from onewafer.simulator.arithmetic import binary, conversion, dsd_element, floating, unary

from . import oracle
from .oracle import BRAIN, CEREBRAS, HALF, SINGLE, single

F16, F32 = ScalarType.F16, ScalarType.F32
HALVES = {F16: HALF, ScalarType.BF16: BRAIN, ScalarType.CB16: CEREBRAS}
FORMATS = {**HALVES, F32: SINGLE}
each_half = pytest.mark.parametrize("half", HALVES, ids=lambda half: half.name.lower())


def interesting(form):
    """Bits where rounding, overflow or underflow changes its mind, with both signs."""
    one = form.bias << form.num_fraction_bits
    smallest_normal = 1 << form.num_fraction_bits
    magnitudes = [
        0, 1, 2, 3, smallest_normal - 1, smallest_normal, smallest_normal + 1,
        one - 1, one, one + 1, one + smallest_normal // 2, one + smallest_normal - 1,
        form.infinity - 1, form.infinity - 2, form.infinity, form.nan, form.infinity + 1,
    ]  # fmt: skip
    return [bits | sign for bits in magnitudes for sign in (0, form.sign)]


def bits(form):
    return st.integers(0, (1 << form.num_bits) - 1) | st.sampled_from(interesting(form))


# --- conversions ---------------------------------------------------------------------------------


@each_half
def test_all_16_bit_floats_have_their_value(half):
    """M148."""
    form = HALVES[half]
    for word in range(1 << 16):
        value = floating.half_to_float(word, half)
        if form.is_finite(word):
            numerator, denominator = value.as_integer_ratio()
            exact = form.value(word)
            assert (numerator, denominator) == (exact.numerator, exact.denominator)
        elif form.is_nan(word):
            assert value != value  # noqa: PLR0124  # NaN
        else:
            assert value == (float("-inf") if word & form.sign else float("inf"))


@pytest.mark.parametrize(
    ("half", "six"), [(F16, 0b0_10001_1000000000), (ScalarType.BF16, 0b0_10000001_1000000),
                      (ScalarType.CB16, 0b0_101100_100000000)],
)  # fmt: skip
def test_six_has_the_bits_that_are_documented(half, six):
    """M148."""
    assert floating.float_to_half(6.0, half) == six


def test_all_f16_become_f32_as_in_numpy():
    words = np.arange(1 << 16, dtype=np.uint16)
    expected = words.view(np.float16).astype(np.float32).view(np.uint32).tolist()
    for word in words.tolist():
        is_nan = HALF.is_nan(word)
        assert conversion(F16, F32)(word) == (SINGLE.nan if is_nan else expected[word])


@each_half
def test_all_16_bit_floats_survive_the_way_through_f32(half):
    form = HALVES[half]
    for word in range(1 << 16):
        expected = form.nan if form.is_nan(word) else word
        assert conversion(F32, half)(conversion(half, F32)(word)) == expected


def midpoints(form):
    """Exact ties between neighbours, and values a hair to each side of them."""
    normal = 1 << form.num_fraction_bits
    one = form.bias << form.num_fraction_bits
    for low in (0, 1, 2, normal - 2, normal - 1, normal, normal + 1, one, one + 1,
                form.infinity - 3, form.infinity - 2):  # fmt: skip
        tie = (form.value(low) + form.value(low + 1)) / 2
        for hair in (Fraction(0), tie / 2**25, -tie / 2**25):
            yield tie + hair
    largest = form.value(form.infinity - 1)
    limit = (largest + form.limit) / 2
    yield from (limit, limit * (1 - Fraction(1, 2**30)), limit * (1 + Fraction(1, 2**30)))


@pytest.mark.parametrize("sign", [1, -1])
@each_half
def test_f64_to_16_bits_at_ties(half, sign):
    form = HALVES[half]
    for value in midpoints(form):
        exact = Fraction(float(value) * sign)
        assert floating.float_to_half(float(value) * sign, half) == form.round(exact)


@each_half
@given(word=bits(SINGLE))
def test_f32_to_16_bits_is_rounded_once(half, word):
    form, result = HALVES[half], conversion(F32, half)(word)
    if SINGLE.is_nan(word):
        assert result == form.nan
    elif SINGLE.is_infinite(word):
        assert result == form.infinity | (word & SINGLE.sign) >> 16
    else:
        expected = form.round(SINGLE.value(word), zero_sign=(word & SINGLE.sign) >> 16)
        assert result == expected


@given(st.floats(width=64))
def test_f64_to_f32_is_rounded_once(value):
    result = floating.float_to_single(value)
    if value != value:  # noqa: PLR0124  # NaN
        assert result == SINGLE.nan
    elif value in (float("inf"), float("-inf")):
        assert result == struct.unpack("<I", struct.pack("<f", value))[0]
    else:
        sign = SINGLE.sign if str(value).startswith("-") else 0
        assert result == SINGLE.round(Fraction(value), zero_sign=sign)


# --- two operands --------------------------------------------------------------------------------


EXPECTED = {
    Opcode.ADD: lambda form, a, b: oracle.add((form, form), a, b),
    Opcode.SUB: lambda form, a, b: oracle.add((form, form), a, b ^ form.sign),
    Opcode.MUL: oracle.multiply,
    Opcode.DIV: oracle.divide,
}


@pytest.mark.alternate
@pytest.mark.parametrize("opcode", EXPECTED)
@pytest.mark.parametrize("element", FORMATS)
def test_arithmetic_at_the_edges(opcode, element):
    form, function = FORMATS[element], binary(opcode, element)
    for a in interesting(form):
        for b in interesting(form):
            assert function(a, b) == EXPECTED[opcode](form, a, b), f"{a:#x} {b:#x}"


@pytest.mark.parametrize("opcode", EXPECTED)
@pytest.mark.parametrize("element", FORMATS)
def test_arithmetic_on_any_bits(opcode, element):
    form, function = FORMATS[element], binary(opcode, element)

    @given(bits(form), bits(form))
    def check(a, b):
        assert function(a, b) == EXPECTED[opcode](form, a, b)

    check()


def subnormal_quotients():
    """f32 pairs whose quotient is a hair off a tie between subnormals."""
    for tie in (1, 3, 5, 0xFFFF, 0x7FFFFF):
        for divisor in (0x3F800001, 0x3FFFFFFF, 0x4B7FFFFF, 0x5F000003):
            exact = Fraction(2 * tie + 1, 2) * Fraction(2) ** -149 * SINGLE.value(divisor)
            yield from ((SINGLE.round(exact) + step, divisor) for step in (-1, 0, 1))


@pytest.mark.parametrize(("a", "b"), list(subnormal_quotients()))
def test_subnormal_quotients_are_rounded_once(a, b):
    assert binary(Opcode.DIV, F32)(a, b) == oracle.divide(SINGLE, a, b)


@pytest.mark.parametrize("element", FORMATS)
def test_comparisons(element):
    form = FORMATS[element]
    for a in interesting(form):
        for b in interesting(form):
            is_ordered = not (form.is_nan(a) or form.is_nan(b))
            x, y = (_order(form, word) for word in (a, b))
            assert binary(Opcode.EQUAL, element)(a, b) == (is_ordered and x == y)
            assert binary(Opcode.NOT_EQUAL, element)(a, b) == (not is_ordered or x != y)
            assert binary(Opcode.LESS, element)(a, b) == (is_ordered and x < y)
            assert binary(Opcode.LESS_EQUAL, element)(a, b) == (is_ordered and x <= y)


def _order(form, word):
    magnitude = word & ~form.sign
    return -magnitude if word & form.sign else magnitude


@pytest.mark.parametrize("element", FORMATS)
def test_maximum(element):
    form = FORMATS[element]
    maximum = (
        dsd_element(DsdOperation.FMAXS)
        if element is F32
        else dsd_element(DsdOperation.FMAXH, element)
    )
    for a in interesting(form):
        for b in interesting(form):
            result = maximum(a, b, 0)
            if form.is_nan(a) or form.is_nan(b):
                assert result == form.nan
            elif _order(form, a) == _order(form, b):
                assert result == a & b
            else:
                assert result == max(a, b, key=lambda word: _order(form, word))


@pytest.mark.parametrize("element", FORMATS)
def test_negation_flips_the_sign_of_anything(element):
    form = FORMATS[element]
    for word in interesting(form):
        assert unary(Opcode.NEG, element)(word) == word ^ form.sign


# --- multiply-add --------------------------------------------------------------------------------

TINY = 2.0**-24


def single_traps():
    """Sums that lie next to a tie of f32, closer than f64 can see."""
    yield 1 + 2.0**-23, 1 - 2.0**-23, (1 + 2.0**-23) * TINY
    for sign in (1.0, -1.0):
        for addend in (1.0, 1 + 2.0**-23, 2 - 2.0**-23, 2.0**-126, 2.0**-149, 3 * 2.0**-149):
            yield sign * addend, addend * (1 + 2.0**-23) * TINY, 1 - 2.0**-23
            yield addend, sign * (1 + 2.0**-12) * TINY, addend * (1 - 2.0**-12)
            yield sign, addend * 2.0**-60, 2.0**-60
    yield 1 + 2.0**-23, 2.0**-24, 1.0
    yield 1.0, 2.0**-24, 1.0
    yield 1.0, 2.0**-24, 1 + 2.0**-23
    yield 2.0**127, 2.0**103 * (2 - 2.0**-23), 2.0**24
    yield -(2.0**-126), 2.0**-75, 2.0**-75


@pytest.mark.parametrize(("a", "b", "c"), list(single_traps()))
def test_fmacs_rounds_once(a, b, c):
    a, b, c = (floating.float_to_single(value) for value in (a, b, c))
    expected = oracle.multiply_add(SINGLE, SINGLE, a, b, c)
    assert dsd_element(DsdOperation.FMACS)(a, b, c) == expected


def test_fmacs_differs_from_rounding_twice():
    a, b, c = single(1 + 2.0**-23), single(1 - 2.0**-23), single((1 + 2.0**-23) * TINY)
    exact = SINGLE.value(a) + SINGLE.value(b) * SINGLE.value(c)
    twice = SINGLE.round(Fraction(float(exact)))
    once = dsd_element(DsdOperation.FMACS)(a, b, c)
    assert once == SINGLE.round(exact)
    assert twice != once


@given(bits(SINGLE), bits(SINGLE), bits(SINGLE))
def test_fmacs_on_any_bits(a, b, c):
    expected = oracle.multiply_add(SINGLE, SINGLE, a, b, c)
    assert dsd_element(DsdOperation.FMACS)(a, b, c) == expected


@given(bits(SINGLE), bits(SINGLE), st.integers(-3, 3), st.integers(-70, 70))
def test_fmacs_next_to_ties(a, b, step, exponent):
    """Pick c so that the product is about half the last place of a, or cancels it."""
    if not (SINGLE.is_finite(a) and SINGLE.is_finite(b) and SINGLE.value(b)):
        return
    target = SINGLE.value(a) * Fraction(2) ** exponent / SINGLE.value(b)
    c = max(SINGLE.round(target) + step, 0)
    expected = oracle.multiply_add(SINGLE, SINGLE, a, b, c)
    assert dsd_element(DsdOperation.FMACS)(a, b, c) == expected


@each_half
@given(data=st.data())
def test_fmach_on_any_bits(half, data):
    form = HALVES[half]
    a, b, c = (data.draw(bits(form)) for _ in range(3))
    expected = oracle.multiply_add(form, form, a, b, c)
    assert dsd_element(DsdOperation.FMACH, half)(a, b, c) == expected


@each_half
@given(data=st.data(), step=st.integers(-2, 2), exponent=st.integers(-26, 26))
def test_fmach_next_to_ties(half, data, step, exponent):
    form = HALVES[half]
    a, b = (data.draw(bits(form)) for _ in range(2))
    if not (form.is_finite(a) and form.is_finite(b) and form.value(b)):
        return
    target = form.value(a) * Fraction(2) ** exponent / form.value(b)
    c = max(form.round(target) + step, 0)
    expected = oracle.multiply_add(form, form, a, b, c)
    assert dsd_element(DsdOperation.FMACH, half)(a, b, c) == expected


@pytest.mark.parametrize("half", [ScalarType.BF16, ScalarType.CB16], ids=str)
def test_fmach_of_wide_exponents_differs_from_rounding_twice(half):
    """M148: the product is a tie; f64 drops the addend that says to which side."""
    form = HALVES[half]
    last = Fraction(1, 1 << form.num_fraction_bits)
    b, c = form.round((1 + last) * 2**10), form.round(Fraction(3, 2) * 2**9)
    a = form.sign | 1
    exact = form.value(a) + form.value(b) * form.value(c)
    twice = form.round(Fraction(float(exact)))
    once = dsd_element(DsdOperation.FMACH, half)(a, b, c)
    assert once == form.round(exact)
    assert twice != once


@each_half
@given(data=st.data(), a=bits(SINGLE))
def test_fmachs_on_any_bits(half, data, a):
    form = HALVES[half]
    b, c = (data.draw(bits(form)) for _ in range(2))
    expected = oracle.multiply_add(SINGLE, form, a, b, c)
    assert dsd_element(DsdOperation.FMACHS, half)(a, b, c) == expected


@each_half
@given(data=st.data(), a=bits(SINGLE))
def test_faddhs_on_any_bits(half, data, a):
    form = HALVES[half]
    b = data.draw(bits(form))
    expected = oracle.add((SINGLE, form), a, b, result=SINGLE)
    assert dsd_element(DsdOperation.FADDHS, half)(a, b, 0) == expected
