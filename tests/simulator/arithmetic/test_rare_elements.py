"""Elements of DSD operations besides moves, sums and products, against plain Python."""

import math
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from onewafer.image import DsdOperation, ScalarType
from onewafer.simulator.arithmetic import dsd_element

from .oracle import BRAIN, CEREBRAS, HALF, SINGLE

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


FORMS = {ScalarType.F16: HALF, ScalarType.BF16: BRAIN, ScalarType.CB16: CEREBRAS}


@given(st.sampled_from(list(FORMS)), WORDS, SINGLES, SCALES)
def test_each_16_bit_float_has_these_elements(half, word, single, scale):
    """M148."""
    form, signs = FORMS[half], word & 0x8000

    def of(operation, source, scalar=0):
        return dsd_element(operation, half)(0, source, scalar)

    assert of(DsdOperation.XP162FH, word) == form.round(Fraction(signed(word)))
    if SINGLE.is_finite(single):
        exact = SINGLE.value(single)
        expected = form.round(exact, zero_sign=single >> 16 & 0x8000)
        assert of(DsdOperation.FS2H, single) == expected
    if not form.is_finite(word):
        assert of(DsdOperation.FNORMH, word) == word
        return
    value = form.value(word)
    assert of(DsdOperation.FH2S, word) == SINGLE.round(value, zero_sign=signs << 16)
    scaled = value * Fraction(2) ** max(min(scale, 300), -300)
    assert of(DsdOperation.FSCALEH, word, scale & 0xFFFF) == form.round(scaled, zero_sign=signs)
    if abs(value) < 1 << 15:
        assert signed(of(DsdOperation.FH2XP16, word)) == math.trunc(value)
    normal = of(DsdOperation.FNORMH, word)
    assert normal & 0x8000 == signs
    if value:
        significand = abs(form.value(normal))
        assert 1 <= significand < 2
        ratio = abs(value) / significand
        assert ratio in (ratio.numerator, Fraction(1, ratio.denominator))
        assert ratio.numerator.bit_count() == ratio.denominator.bit_count() == 1
    else:
        assert normal == word
