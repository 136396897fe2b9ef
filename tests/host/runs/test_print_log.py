"""Floats in `sim.log` have as few digits as they need, whichever format they are of."""

from __future__ import annotations

import struct
from math import isfinite

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.host.runs.print_log import format_word
from onewafer.image import PrintForm, ScalarType
from onewafer.simulator import float_to_half, half_to_float

HALVES = (ScalarType.F16, ScalarType.BF16, ScalarType.CB16)


def word_of(number: float, kind: ScalarType) -> int:
    if kind is ScalarType.F32:
        (word,) = struct.unpack("<i", struct.pack("<f", number))
        return word
    return float_to_half(number, kind)


@pytest.mark.parametrize("kind", [*HALVES, ScalarType.F32])
@pytest.mark.parametrize(
    "text", ["0.1", "42.0", "-1.5", "1000.0", "3e-05", "-0.0", "inf", "-inf", "nan"]
)
def test_short_numbers_are_printed_as_written(text: str, kind: ScalarType) -> None:
    assert format_word(word_of(float(text), kind), PrintForm.FLOAT, kind) == text


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (ScalarType.F16, "0.3333"),
        (ScalarType.BF16, "0.334"),
        (ScalarType.CB16, "0.3335"),
        (ScalarType.F32, "0.33333334"),
    ],
)
def test_a_third_has_the_digits_of_its_format(text: str, kind: ScalarType) -> None:
    assert format_word(word_of(1 / 3, kind), PrintForm.FLOAT, kind) == text


@given(st.integers(0, 0xFFFF), st.sampled_from(HALVES))
def test_halves_read_back_and_with_a_digit_less_do_not(word: int, kind: ScalarType) -> None:
    text = format_word(word, PrintForm.FLOAT, kind)
    if not isfinite(half_to_float(word, kind)):
        assert text in ("inf", "-inf", "nan")
        return
    assert float_to_half(float(text), kind) == word
    digits = text.lstrip("-").partition("e")[0].replace(".", "").strip("0")
    if len(digits) > 1:
        shorter = float(f"{half_to_float(word, kind):.{len(digits) - 2}e}")
        assert float_to_half(shorter, kind) != word
