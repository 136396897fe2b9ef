"""Integers, conversions and the tables; and that compiled code computes the same bits."""

import random
from fractions import Fraction
from math import trunc

import numba
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from onewafer.image import DSD_OPERATIONS, DsdOperation, Opcode, ScalarType
from onewafer.simulator.arithmetic import binary, canonical, conversion, dsd_element, unary
from onewafer.simulator.arithmetic.compiled import teach_numba
from onewafer.simulator.arithmetic.tables import (
    BINARY,
    CONVERSIONS,
    ELEMENTS,
    HALF_ELEMENTS,
    UNARY,
)

from .oracle import BRAIN, CEREBRAS, HALF, SINGLE

FLOATS = {
    ScalarType.F16: HALF,
    ScalarType.F32: SINGLE,
    ScalarType.BF16: BRAIN,
    ScalarType.CB16: CEREBRAS,
}
INTEGERS = [ScalarType(t) for t in range(ScalarType.I8, ScalarType.F16)]
WORDS = st.integers(0, 2**32 - 1) | st.sampled_from(
    [0, 1, 2**31, 2**32 - 1, 0x7FFF, 0x8000, 0xFF80]
)


def number(word, element):
    return word - 2**32 if element.is_signed and word >= 2**31 else word


def width(element):
    return 8 * element.num_bytes


def wrapped(value, element):
    low = value % 2 ** width(element)
    if element.is_signed and low >= 2 ** (width(element) - 1):
        low -= 2 ** width(element)
    return low % 2**32


def shifted_right(x, count, element):
    if count < width(element):
        return x >> count
    return -1 if x < 0 else 0


REFERENCE = {
    Opcode.ADD: lambda x, y, _: x + y,
    Opcode.SUB: lambda x, y, _: x - y,
    Opcode.MUL: lambda x, y, _: x * y,
    Opcode.DIV: lambda x, y, _: trunc(Fraction(x, y)) if y else 0,
    Opcode.REM: lambda x, y, _: x - trunc(Fraction(x, y)) * y if y else x,
    Opcode.AND: lambda x, y, _: x & y,
    Opcode.OR: lambda x, y, _: x | y,
    Opcode.XOR: lambda x, y, _: x ^ y,
    Opcode.SHL: lambda x, y, t: x << (y % 2**32) if y % 2**32 < width(t) else 0,
    Opcode.SHR: lambda x, y, t: shifted_right(x, y % 2**32, t),
    Opcode.EQUAL: lambda x, y, _: x == y,
    Opcode.NOT_EQUAL: lambda x, y, _: x != y,
    Opcode.LESS: lambda x, y, _: x < y,
    Opcode.LESS_EQUAL: lambda x, y, _: x <= y,
}


@pytest.mark.alternate(3)
@pytest.mark.parametrize("element", INTEGERS)
@pytest.mark.parametrize("opcode", REFERENCE)
def test_integer_operations(opcode, element):
    function = binary(opcode, element)

    @given(WORDS, WORDS | st.integers(0, 40))
    @example(2**31, 2**32 - 1)
    @example(7, 0)
    def check(a, b):
        a, b = canonical(a, element), canonical(b, element)
        expected = REFERENCE[opcode](number(a, element), number(b, element), element)
        assert function(a, b) == wrapped(int(expected), element)

    check()


@given(WORDS, st.sampled_from(INTEGERS))
def test_negation_and_complement_wrap(word, element):
    word = canonical(word, element)
    assert unary(Opcode.NEG, element)(word) == wrapped(-word, element)
    assert unary(Opcode.NOT, element)(word) == wrapped(~word, element)


def test_not_of_a_bool_is_logical():
    assert [unary(Opcode.NOT, ScalarType.BOOL)(word) for word in (0, 1)] == [1, 0]


@given(WORDS, st.sampled_from(INTEGERS), st.sampled_from(INTEGERS))
def test_integers_keep_their_low_bits(word, source, target):
    word = canonical(word, source)
    assert conversion(source, target)(word) == wrapped(word, target)


@pytest.mark.parametrize(("source", "form"), FLOATS.items())
@pytest.mark.parametrize("target", INTEGERS)
def test_floats_truncate_toward_zero(source, form, target):
    function = conversion(source, target)

    @given(st.integers(0, 2**form.num_bits - 1))
    @example(form.nan)
    @example(form.infinity)
    @example(form.infinity - 1)
    def check(word):
        expected = trunc(form.value(word)) if form.is_finite(word) else 0
        assert function(word) == wrapped(expected, target)

    check()


@pytest.mark.parametrize(("target", "form"), FLOATS.items())
@pytest.mark.parametrize("source", [ScalarType.BOOL, *INTEGERS])
def test_integers_round_to_nearest_even(source, target, form):
    function = conversion(source, target)

    @given(WORDS | st.sampled_from([65519, 65520, 2049, 2051, 2**24 + 1, 2**24 + 3]))
    def check(word):
        word = canonical(word, source)
        assert function(word) == form.round(Fraction(number(word, source)))

    check()


@pytest.mark.parametrize(
    ("source", "word", "truth"),
    [
        (ScalarType.F16, 0x8000, 0),
        (ScalarType.F16, HALF.nan, 1),
        (ScalarType.F32, 0x8000_0000, 0),
        (ScalarType.F32, 1, 1),
        (ScalarType.I16, 0xFFFF_FF00, 1),
    ],
)
def test_anything_but_zero_is_true(source, word, truth):
    assert conversion(source, ScalarType.BOOL)(word) == truth


def test_same_type_keeps_even_a_signalling_nan():
    assert conversion(ScalarType.F32, ScalarType.F32)(0x7F80_0001) == 0x7F80_0001


def test_every_dsd_operation_has_an_element():
    assert set(ELEMENTS) == set(DsdOperation) == set(DSD_OPERATIONS)


def test_moves_carry_bits():
    assert dsd_element(DsdOperation.MOV16)(0, 0x1234_5678, 0) == 0x5678
    assert dsd_element(DsdOperation.MOV32)(0, 0x7F80_0001, 0) == 0x7F80_0001
    assert dsd_element(DsdOperation.SUB16)(3, 5, 0) == 0xFFFE


# --- compiled ------------------------------------------------------------------------------------


def compiled(function, num_operands):
    """Compile a loop that applies `function` to rows of int64 operands."""
    teach_numba()
    match num_operands:
        case 1:
            return numba.njit(lambda rows: np.array([function(r[0]) for r in rows]))
        case 2:
            return numba.njit(lambda rows: np.array([function(r[0], r[1]) for r in rows]))
        case _:
            return numba.njit(lambda rows: np.array([function(r[0], r[1], r[2]) for r in rows]))


def sample(seed, element_widths):
    """Random words of the given widths, half of them next to powers of two."""
    source = random.Random(seed)  # noqa: S311 - a fixed sample
    rows = []
    for _ in range(300):
        row = []
        for num_bits in element_widths:
            word = source.getrandbits(num_bits)
            if source.random() < 0.5:
                word = (1 << source.randrange(num_bits)) + source.randrange(-2, 3)
            row.append(word % 2**num_bits)
        rows.append(row)
    return np.array(rows, dtype=np.int64)


def assert_compiled_agrees(function, element_widths):
    rows = sample(len(element_widths), element_widths)
    plain = [function(*row) for row in rows.tolist()]
    assert compiled(function, len(element_widths))(rows).tolist() == plain


SOME_TYPES = (ScalarType.I16, ScalarType.U32, ScalarType.I32)
WIDTHS = {"u16": 16, "u32": 32, "f16": 16, "f32": 32, None: 1}


@pytest.mark.parametrize("operation", DsdOperation)
@pytest.mark.alternate(8)
def test_compiled_elements_agree(operation):
    shape = DSD_OPERATIONS[operation]
    widths = [WIDTHS[name] for name in (shape.src0, shape.src1, shape.scalar)]
    assert_compiled_agrees(ELEMENTS[operation], widths)


@pytest.mark.parametrize(
    "key", [key for key in BINARY if key[1] in SOME_TYPES or key[1].is_float], ids=str
)
@pytest.mark.alternate(10)
def test_compiled_operations_agree(key):
    _, element = key
    assert_compiled_agrees(BINARY[key], [width(element)] * 2)


def test_compiled_unary_operations_agree():
    for key, function in UNARY.items():
        if key[1] in SOME_TYPES:
            assert_compiled_agrees(function, [width(key[1])])


@pytest.mark.parametrize("source", [*FLOATS, ScalarType.I32], ids=str)
@pytest.mark.alternate(4)
def test_compiled_conversions_agree(source):
    for target in (ScalarType.BOOL, ScalarType.I16, *FLOATS):
        if (source, target) in CONVERSIONS:
            assert_compiled_agrees(CONVERSIONS[source, target], [width(source)])


@pytest.mark.parametrize("half", [ScalarType.BF16, ScalarType.CB16], ids=str)
@pytest.mark.alternate
@pytest.mark.slow
def test_compiled_elements_of_other_16_bit_floats_agree(half):
    """M148: the fast engine computes elements of bf16 and cb16 as the reference engine does."""
    for operation, element in HALF_ELEMENTS[half].items():
        shape = DSD_OPERATIONS[operation]
        widths = [WIDTHS[name] for name in (shape.src0, shape.src1, shape.scalar)]
        assert_compiled_agrees(element, widths)
