"""The kernels of tokens and positions on one PE, against their mirrors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.mesh.tokens import arrays as tokens
from tests.mesh.one_pe import DTYPES, Array, Numbers, OnePe, load_one_pe
from tests.mesh.strategies import assert_same_bits

BODY = """
const functions = @import_module("functions.csl");
const rotary = @import_module("rotary.csl", .{ .element = ELEMENT, .functions = functions });
const lookup = @import_module("lookup.csl", .{ .element = ELEMENT });
const last_row = @import_module("last_row.csl", .{ .element = ELEMENT });

fn rotate(rows: u16, width: u16, group: u16) void {
  rotary.run(result_dsd, left_dsd, scores, totals, scratch_dsd, rows, width, group);
  rotary.run(left_dsd, left_dsd, scores, totals, scratch_dsd, rows, width, group);
  sys_mod.unblock_cmd_stream();
}
fn look_up_tokens(rows: u16, features: u16, entries: u16, b: u16) void {
  lookup.tokens(scores, kv, ids, rows, features, entries, b);
  sys_mod.unblock_cmd_stream();
}
fn look_up_positions(start: u16, rows: u16, features: u16, entries: u16, b: u16) void {
  lookup.positions(scores, kv_dsd, start, rows, features, entries, b);
  sys_mod.unblock_cmd_stream();
}
fn copy_row(row: u16, columns: u16) void {
  last_row.run(result_dsd, left_dsd, row, columns);
  sys_mod.unblock_cmd_stream();
}
"""
FUNCTIONS = {
    "rotate": ", ".join(["u16"] * 3),
    "look_up_tokens": ", ".join(["u16"] * 4),
    "look_up_positions": ", ".join(["u16"] * 5),
    "copy_row": ", ".join(["u16"] * 2),
}


@cache
def load(arch: str, element: str) -> OnePe:
    """Compile the kernels for one generation and storage type."""
    arrays = {
        "ids": Array("i32", 16),
        "kv": Array(element, 2000),
        "left": Array(element, 200),
        "result": Array(element, 200),
        "scores": Array("f32", 2000),
        "totals": Array("f32", 400),
        "scratch": Array("f32", 64),
    }
    return load_one_pe(load_architecture(arch), arrays, FUNCTIONS, BODY.replace("ELEMENT", element))


@dataclass(frozen=True)
class Case(Numbers):
    """The rows of a launch, and a PE's share of a table."""

    group: int
    width: int
    capacity: int
    b: int
    start: int
    rows: int


@pytest.fixture(params=["wse2", "wse3"])
def arch(request):
    return request.param


@pytest.fixture(params=sorted(DTYPES))
def element(request):
    return request.param


@st.composite
def cases(draw, arch: str, element: str) -> Case:
    """Draw PEs anywhere, behind the last position too."""

    def among(*values: int) -> int:
        return draw(st.sampled_from(values))

    capacity, size = among(8, 1, 2, 3, 5), among(2, 1, 3, 4)
    rows = min(among(2, 1, 3, 4), capacity * size)
    last_start = capacity * size - rows
    return Case(
        load(arch, element),
        DTYPES[element],
        draw(st.integers(0, 99)),
        group=among(2, 1, 3),
        width=among(4, 1, 2, 3, 6),
        capacity=capacity,
        b=among(*range(size)),
        start=among(last_start // 2, 0, min(1, last_start), last_start),
        rows=rows,
    )


def test_rotary(arch, element):
    @given(cases(arch, element), st.integers(1, 4))
    def check(case, pairs):
        shape = (case.rows, 2 * pairs, case.group)
        values = case.numbers(*shape)
        cosine, sine = (
            case.numbers(case.rows, 2 * pairs, dtype=np.float32) + np.float32(offset)
            for offset in (0, 1)
        )
        case.write_guarded("result", values.size, case.dtype)
        case.write_guarded("left", values.size, case.dtype)
        case.pe.write("left", values)
        case.pe.write("scores", cosine)
        case.pe.write("totals", sine)
        case.pe.launch("rotate", case.rows, 2 * pairs, case.group)
        expected = tokens.rotate(values, cosine, sine)
        assert_same_bits(case.read_guarded("result", *shape), expected)
        assert_same_bits(case.read_guarded("left", *shape), expected)

    check()


def test_look_up_tokens(arch, element):
    @given(cases(arch, element), st.data())
    def check(case, data):
        entries, last = case.capacity, 5 * case.capacity
        ids = data.draw(st.lists(st.integers(-2, last), min_size=case.rows, max_size=case.rows))
        ids = np.array(ids, np.int32)
        table = case.numbers(case.width, entries)
        case.pe.write("ids", ids)
        case.pe.write("kv", table)
        case.write_guarded("scores", case.rows * case.width, np.float32)
        case.pe.launch("look_up_tokens", case.rows, case.width, entries, case.b)
        expected = tokens.look_up_tokens(table, ids, b=case.b)
        assert_same_bits(case.read_guarded("scores", case.rows, case.width), expected)

    check()


def test_tokens_are_counted_in_32_bits(arch, element):
    """Numbers of tokens that are alike in their low 16 bits are not."""
    pe, entries, b = load(arch, element), 300, 234
    first = b * entries
    table = np.arange(1.0, 2 * entries + 1).reshape(2, entries).astype(DTYPES[element])
    ids = np.array([first + 4, first + 4 - 2**16, first + 299, first + 300, -1], np.int32)
    pe.write("kv", table)
    pe.write("ids", ids)
    pe.launch("look_up_tokens", len(ids), 2, entries, b)
    expected = tokens.look_up_tokens(table, ids, b=b)
    np.testing.assert_array_equal(expected[:, 0], [5, 0, 300, 0, 0])
    assert_same_bits(pe.read("scores", len(ids), 2), expected)


def test_look_up_positions(arch, element):
    @given(cases(arch, element))
    def check(case):
        entries = case.capacity
        table = case.numbers(entries, case.width)
        case.pe.write("kv", table)
        case.write_guarded("scores", case.rows * case.width, np.float32)
        place = (case.width, entries, case.b)
        case.pe.launch("look_up_positions", case.start, case.rows, *place)
        expected = tokens.look_up_positions(table, start=case.start, rows=case.rows, b=case.b)
        assert_same_bits(case.read_guarded("scores", case.rows, case.width), expected)

    check()


def test_last_row(arch, element):
    pe, block = load(arch, element), np.arange(12).reshape(4, 3).astype(DTYPES[element])
    pe.write("left", block)
    for row in range(4):
        pe.launch("copy_row", row, 3)
        assert_same_bits(pe.read("result", 3), block[row])
