"""Elements of DSD operations besides moves, sums and products, against plain Python."""

import math
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from onewafer.image import DsdOperation
from onewafer.simulator.arithmetic import dsd_element

from .oracle import HALF, SINGLE

WORDS = st.integers(0, 0xFFFF)
COUNTS = st.one_of(st.integers(0, 20), WORDS)
HALVES = st.integers(0, 0xFFFF)
SINGLES = st.integers(0, 0xFFFF_FFFF)
SCALES = st.one_of(st.integers(-40, 40), st.integers(-(1 << 15), (1 << 15) - 1))


def element(operation, s0, s1, scalar=0):
    return dsd_element(operation)(s0, s1, scalar)


def signed(word):
    return word - 0x10000 if word >> 15 else word


@given(WORDS, COUNTS)
def test_shifts(word, count):
    assert element(DsdOperation.SLL16, word, count) == (word << min(count, 16)) & 0xFFFF
    assert element(DsdOperation.SLR16, word, count) == word >> min(count, 16)
    assert element(DsdOperation.SAR16, word, count) == signed(word) >> min(count, 16) & 0xFFFF


@given(WORDS)
def test_counts_of_bits(word):
    assert element(DsdOperation.CLZ, 0, word) == 16 - word.bit_length()
    assert (
        element(DsdOperation.CTZ, 0, word)
        == (word | 1 << 16).bit_length() - len(bin(word | 1 << 16).rstrip("0")) + 2
    )
    assert element(DsdOperation.POPCNT, 0, word) == word.bit_count()


@given(HALVES, SINGLES)
def test_absolute_values_clear_the_sign(half, single):
    assert element(DsdOperation.FABSH, 0, half) == half & 0x7FFF
    assert element(DsdOperation.FABSS, 0, single) == single & 0x7FFF_FFFF


@given(HALVES, SINGLES, SCALES)
def test_scaling_rounds_the_exact_product_once(half, single, scale):
    for operation, form, word in (
        (DsdOperation.FSCALEH, HALF, half),
        (DsdOperation.FSCALES, SINGLE, single),
    ):
        if not form.is_finite(word):
            continue
        exact = form.value(word) * Fraction(2) ** max(min(scale, 300), -300)
        expected = form.round(exact, zero_sign=word & form.sign)
        assert element(operation, 0, word, scale & 0xFFFF) == expected


@given(HALVES, SINGLES)
def test_floats_to_integers_truncate(half, single):
    for operation, form, word in (
        (DsdOperation.FH2XP16, HALF, half),
        (DsdOperation.FS2XP16, SINGLE, single),
    ):
        if form.is_finite(word) and abs(form.value(word)) < 1 << 15:
            assert signed(element(operation, 0, word)) == math.trunc(form.value(word))


@given(WORDS)
def test_integers_to_floats_round(word):
    exact = Fraction(signed(word))
    assert element(DsdOperation.XP162FH, 0, word) == HALF.round(exact)
    assert element(DsdOperation.XP162FS, 0, word) == SINGLE.round(exact)


def test_subnormal_values_are_normalised():
    """M141: the smallest values are powers of two, one step above it is not."""
    assert element(DsdOperation.FNORMH, 0, 0x8001) == 0xBC00
    assert element(DsdOperation.FNORMS, 0, 3) == 0x3FC0_0000
