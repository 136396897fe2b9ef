"""Operators and conversions on comptime values."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from onewafer.csl.sema import types as t
from onewafer.csl.sema.values import formats


@pytest.mark.parametrize(
    ("expression", "shown"),
    [
        ("1 + 2 * 3", "7"),
        ("-7 / 2", "-3"),
        ("-7 % 2", "-1"),
        ("1 << 40", str(1 << 40)),
        ("@as(i16, 32767) + 1", "-32768"),
        ("@as(u16, 0) - 1", "65535"),
        ("@as(u8, 200) * 2", "144"),
        ("@as(i16, -8) >> 1", "-4"),
        ("@as(u16, 0xfff0) >> 4", str(0xFFF)),
        ("~@as(u16, 0)", "65535"),
        ("0.1 + 0.2", str(0.1 + 0.2)),
        ("@as(f32, 0.1)", "0.10000000149011612"),
        ("@as(f16, 0.1)", "0.0999755859375"),
        ("@as(f16, 100000.0)", "inf"),
        ("@as(f32, 1 << 2000)", "inf"),
        ("@as(f16, -(1 << 2000))", "-inf"),
        ("0.5 * (1 << 2000)", "inf"),
        ("@as(bf16, (1 << 60) + (1 << 52) + 1) > @as(bf16, 1 << 60)", "true"),
        ("@bitcast(u16, @as(f16, 100000.0) - @as(f16, 100000.0))", str(0x7E00)),
        ("@as(f32, 1.0) / 3.0", "0.3333333432674408"),
        ("@as(i16, -1.9)", "-1"),
        ("@as(u16, 70000)", "4464"),
        ("@as(u16, @as(f32, 70000.0))", "4464"),
        ("@as(u16, @as(f32, -1.5))", "65535"),
        ("@as(bool, 2)", "true"),
        ("@as(i32, true)", "1"),
        ("@bitcast(u32, @as(f32, 1.0))", str(0x3F800000)),
        ("@bitcast(f32, @as(u32, 0x40000000))", "2.0"),
        ("@bitcast(u16, @as(f16, 1.0))", str(0x3C00)),
        ("@bitcast(i16, @as(u16, 65535))", "-1"),
        ("@bitcast(u16, @as(bf16, 6.0))", str(0b0100000011000000)),
        ("@bitcast(bf16, @as(u16, 0x3FC0))", "1.5"),
        ("@bitcast(u16, @as(cb16, 6.0))", str(0b0101100100000000)),
        ("@bitcast(cb16, @as(u16, 0b0101100100000000))", "6.0"),
        ("@bitcast(u16, @as(cb16, -1.0e30))", str(0xFE00)),
        ("@as(cb16, 1.0) + @as(cb16, 0.0009765625)", "1.0"),
        ("@bitcast(u16, @as(bf16, 3.4e38) * 2.0)", str(0x7F80)),
        ("@type_of(@as(f32, 1.0) + @as(f16, 1.0))", "f32"),
        ("@as(bf16, 1.0) + @as(bf16, 0.00390625)", "1.0"),
        ("6 & 3 == 2", "true"),
        ("1 < 2 and 2 < 3", "true"),
        ("false and (1 / 0 == 0)", "false"),
        ("true or @undefined_builtin()", "true"),
        ("NORTH == SOUTH", "false"),
        ("@get_color(3) == @get_color(3)", "true"),
        ("@is_same_type(@type_of(@as(i16, 1)), i16)", "true"),
        ("@as(i16, 5) + @as(u16, 3)", "8"),
        ("@strlen(@strcat())", "0"),
        ("@strlen(@strcat(" + ", ".join(['"ab"'] * 40) + "))", "80"),
        ("@rank([3, 5]i16) + @element_count([3, 5]i16)", "17"),
    ],
)
def test_value(comptime, expression, shown):
    assert comptime(expression) == shown


@pytest.mark.parametrize(
    ("expression", "code"),
    [
        ("1 / 0", "division-by-zero"),
        ("1 << -1", "value-out-of-range"),
        ("1 + true", "type-mismatch"),
        ("@as(i16, 1) + @as(u16, 65535)", "value-out-of-range"),
        ("@as(f32, 1.0) % 2.0", "type-mismatch"),
        ("!1", "type-mismatch"),
        ("-true", "type-mismatch"),
        ("@bitcast(u16, @as(f32, 1.0))", "type-mismatch"),
        ("@bitcast(u16, 1)", "type-mismatch"),
        ("@as(f16, 1.0) + @as(bf16, 1.0)", "type-mismatch"),
        ("@as(cb16, 1.0) + @as(bf16, 1.0)", "type-mismatch"),
        ("@as(color, 1)", "type-mismatch"),
        ("NORTH < SOUTH", "type-mismatch"),
        ("if (1) 2 else 3", "type-mismatch"),
    ],
)
def test_mistake(comptime, expression, code):
    assert comptime(expression) == code


def test_an_assertion_holds_while_compiling_too(comptime, body):
    declared = "fn half(n: i16) i16 { @assert(n % 2 == 0); return n / 2; }"
    assert comptime("half(6)", declared) == "3"
    assert comptime("half(7)", declared) == "comptime-assert"
    (trap,) = body("@assert(1 == 2);")  # which may never be reached
    assert trap.startswith("assert")


def test_message_shows_both_types(analyze):
    error = analyze("comptime { const x = @as(f32, 1.0) + @as(i16, 1); }").error
    assert "`f32` and `i16`" in error.message
    assert "@as(f32" in error.help


def test_coercion_keeps_values_that_fit(comptime):
    assert comptime("x", "const x: u16 = @as(i32, 7);") == "7"
    assert comptime("x", "const x: u16 = @as(i32, -7);") == "value-out-of-range"
    assert comptime("x", "const x: f16 = 0.1;") == "0.0999755859375"
    assert comptime("x", "const x: i16 = 1.0;") == "type-mismatch"


def test_enum_members_count_and_convert(comptime):
    declared = "const E = enum(u16) { A, B = 5, C };"
    assert comptime("@as(u16, E.C)", declared) == "1"
    assert comptime("@as(E, 5)", declared) == "B"
    assert comptime("@as(E, 4)", declared) == "value-out-of-range"
    assert comptime("@get_int(E.B)", declared) == "5"
    assert comptime("E.D", declared) == "unknown-field"


@given(st.floats(width=32, allow_nan=False))
def test_bf16_is_the_nearest_number_with_8_bits(value):
    rounded = formats.round_float(t.BF16, value)
    bits = formats.to_bits(t.BF16, rounded)
    assert formats.from_bits(t.BF16, bits) == rounded
    if math.isfinite(rounded):
        below, above = (formats.from_bits(t.BF16, max(bits + d, 0) & 0xFFFF) for d in (-1, 1))
        others = [o for o in (below, above) if math.isfinite(o)]
        assert all(abs(value - rounded) <= abs(value - o) for o in others)


@given(st.integers(0, 0xFFFF))
def test_bits_of_cb16_come_back(bits):
    value = formats.from_bits(t.CB16, bits)
    assert math.isnan(value) or formats.to_bits(t.CB16, value) == bits
    assert math.isnan(value) or formats.round_float(t.CB16, value) == value


@given(st.floats(-(2.0**21), 2.0**21))
def test_cb16_is_the_nearest_number_with_10_bits(value):
    rounded = formats.round_float(t.CB16, value)
    assume(math.isfinite(rounded))
    bits = formats.to_bits(t.CB16, abs(rounded))
    others = [formats.from_bits(t.CB16, other) for other in (bits - 1, bits + 1) if other >= 0]
    distance = abs(Fraction(abs(value)) - Fraction(abs(rounded)))
    for other in filter(math.isfinite, others):
        assert distance <= abs(Fraction(abs(value)) - Fraction(other))
