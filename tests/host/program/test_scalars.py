import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.errors import HostError
from onewafer.host.program.scalars import encode_arguments, encode_raw_words
from onewafer.image import Export, ScalarType, SymbolKind


def function(*types):
    return Export("f", SymbolKind.FUNCTION, None, is_mutable=False, argument_types=types)


@pytest.mark.parametrize(
    ("element", "argument", "word"),
    [
        (ScalarType.BOOL, True, 1),
        (ScalarType.BOOL, np.bool_(0), 0),
        (ScalarType.I8, -1, -1),
        (ScalarType.U8, 255, 255),
        (ScalarType.I16, np.int16(-3), -3),
        (ScalarType.U16, np.int64(65535), 65535),
        (ScalarType.I32, -(2**31), -(2**31)),
        (ScalarType.U32, np.uint32(2**32 - 1), -1),
        (ScalarType.F16, 1.0, 0x3C00),
        (ScalarType.F16, np.float16(-2), 0xC000),
        (ScalarType.BF16, 6.0, 0x40C0),
        (ScalarType.BF16, np.float32(1.01), 0x3F81),
        (ScalarType.BF16, 2, 0x4000),
        (ScalarType.BF16, np.uint16(0x4000), 0x4000),
        (ScalarType.CB16, 6.0, 0x5900),
        (ScalarType.CB16, -math.inf, 0xFE00),
        (ScalarType.F32, np.float32(-0.0), -(2**31)),
        (ScalarType.F32, 1, 0x3F800000),
        (ScalarType.F32, math.inf, 0x7F800000),
        (ScalarType.F32, np.float64(0.1), 0x3DCCCCCD),
    ],
)
def test_arguments_become_canonical_words(element, argument, word):
    assert encode_arguments(function(element), [argument]) == (word,)


@pytest.mark.parametrize(
    ("element", "argument", "message"),
    [
        (ScalarType.I16, 40000, r"argument 0 is 40000, outside i16 \(-32768 to 32767\)"),
        (ScalarType.U32, -1, "outside u32"),
        (ScalarType.I16, 1.0, r"\(float\); write np\.int16"),
        (ScalarType.I16, np.float32(1), r"write np\.int16"),
        (ScalarType.I16, True, r"\(bool\); write np\.int16"),
        (ScalarType.F32, False, r"write np\.float32"),
        (ScalarType.F32, np.int32(1), r"\(int32\); write np\.float32"),
        (ScalarType.BOOL, 1, "write True or False"),
        (ScalarType.F32, "1", "write np.float32"),
        (ScalarType.CB16, 1e7, r"beyond the largest cb16 \(2\.0951e\+06\)"),
        (ScalarType.BF16, np.int16(1), r"\(int16\); write a float, or its bits as np\.uint16"),
        (ScalarType.F16, 1e6, r"beyond the largest f16 \(65504\)"),
    ],
)
def test_unfit_arguments_are_refused(element, argument, message):
    with pytest.raises(HostError, match=message):
        encode_arguments(function(element), [argument])


@given(st.integers(-(2**31), 2**32 - 1))
def test_raw_words_keep_the_low_bits(word):
    types = (ScalarType.I16, ScalarType.U16, ScalarType.F16, ScalarType.I32, ScalarType.F32)
    i16, u16, f16, i32, f32 = encode_raw_words(function(*types), [word] * 5)
    assert i16 % 2**16 == u16 == f16 == word % 2**16
    assert -(2**15) <= i16 < 2**15
    assert i32 % 2**32 == f32 % 2**32 == word % 2**32
    assert -(2**31) <= i32 == f32 < 2**31


def test_raw_words_must_be_words():
    with pytest.raises(HostError, match="no 32-bit word"):
        encode_raw_words(function(ScalarType.U16), [2**32])
    assert encode_raw_words(function(ScalarType.BOOL), [256]) == (0,)
    assert encode_raw_words(function(ScalarType.BOOL), [3]) == (1,)


@pytest.mark.parametrize("encode", [encode_arguments, encode_raw_words])
def test_the_number_of_arguments_is_checked(encode):
    with pytest.raises(HostError, match=r"f\(i16\) takes 1 argument, 2 given"):
        encode(function(ScalarType.I16), [1, 2])
