"""The kernels of attention on one PE that takes the place of any other, against their mirrors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.mesh import arithmetic
from onewafer.mesh.attention import arrays as attention
from onewafer.mesh.tokens import arrays as tokens
from tests.mesh.one_pe import Array, OnePe, load_one_pe
from tests.mesh.strategies import assert_same_bits

DTYPES = {"f16": np.float16, "f32": np.float32}
BODY = """
const shares = @import_module("shares.csl");
const kv_append = @import_module("kv_append.csl", .{ .element = ELEMENT });
const scores_kernel = @import_module("scores.csl", .{ .element = ELEMENT });
const softmax = @import_module("softmax.csl", .{ .exponential = halve });
const values_kernel = @import_module("values.csl", .{ .element = ELEMENT });
const functions = @import_module("functions.csl");
const rotary = @import_module("rotary.csl", .{ .element = ELEMENT, .functions = functions });
const lookup = @import_module("lookup.csl", .{ .element = ELEMENT });
const last_row = @import_module("last_row.csl", .{ .element = ELEMENT });

// Softmax takes its function from outside; this one shows which elements it was called on.
fn halve(values: mem1d_dsd, n: u16) void {
  @fmuls(@set_dsd_length(values, n), values, 0.5);
}

fn share(a: u16, width: u16, head_dim: u16, features: u16,
         rows: u16, reach: u16, step: u16, b: u16, size: u16) void {
  shares.heads(heads, a, width, head_dim, features);
  shares.lengths(lengths, rows, reach, step, b, size);
  sys_mod.unblock_cmd_stream();
}
fn append(start: u16, rows: u16, width: u16, capacity: u16, b: u16, size: u16) void {
  kv_append.run(kv_dsd, left_dsd, right_dsd, heads, start, rows, width, capacity, b, size);
  sys_mod.unblock_cmd_stream();
}
fn score(rows: u16, slots: u16, num_heads: u16, group: u16, width: u16, capacity: u16) void {
  scores_kernel.run(scores_dsd, left_dsd, kv_dsd, heads, lengths, rows, slots, num_heads, group,
                    width, capacity);
  sys_mod.unblock_cmd_stream();
}
fn largest(rows: u16, slots: u16, num_heads: u16, group: u16, most: u16, scale: f32) void {
  softmax.maxima(maxima, scores_dsd, heads, lengths, rows, slots, num_heads, group, most, scale);
  sys_mod.unblock_cmd_stream();
}
fn weigh(rows: u16, slots: u16, num_heads: u16, group: u16, most: u16, width: u16) void {
  softmax.weights(totals, scores_dsd, maxima, heads, lengths, rows, slots, num_heads, group, most,
                  width);
  sys_mod.unblock_cmd_stream();
}
fn sum(rows: u16, slots: u16, num_heads: u16, group: u16, most: u16, width: u16,
       capacity: u16) void {
  const cached = @increment_dsd_offset(kv_dsd, @as(i16, width * capacity), ELEMENT);
  values_kernel.run(totals_dsd, scores_dsd, cached, heads, lengths, rows, slots, num_heads, group,
                    most, width, capacity);
  sys_mod.unblock_cmd_stream();
}
fn divide(rows: u16, group: u16, most: u16, width: u16) void {
  values_kernel.divide(result_dsd, totals, heads, rows, group, most, width);
  sys_mod.unblock_cmd_stream();
}
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
    "share": ", ".join(["u16"] * 9),
    "append": ", ".join(["u16"] * 6),
    "score": ", ".join(["u16"] * 6),
    "largest": ", ".join([*["u16"] * 5, "f32"]),
    "weigh": ", ".join(["u16"] * 6),
    "sum": ", ".join(["u16"] * 7),
    "divide": ", ".join(["u16"] * 4),
    "rotate": ", ".join(["u16"] * 3),
    "look_up_tokens": ", ".join(["u16"] * 4),
    "look_up_positions": ", ".join(["u16"] * 5),
    "copy_row": ", ".join(["u16"] * 2),
}
_BEHIND = np.array([7.0, 8.0, 9.0])
"""Elements behind every result that must stay as they are."""


@cache
def load(arch: str, element: str) -> OnePe:
    """Compile all kernels for one generation and storage type."""
    arrays = {
        "heads": Array("u16", 16),
        "lengths": Array("u16", 16),
        "ids": Array("i32", 16),
        "kv": Array(element, 2000),
        "left": Array(element, 200),
        "right": Array(element, 200),
        "result": Array(element, 200),
        "scores": Array("f32", 2000),
        "maxima": Array("f32", 200),
        "totals": Array("f32", 400),
        "scratch": Array("f32", 64),
    }
    return load_one_pe(load_architecture(arch), arrays, FUNCTIONS, BODY.replace("ELEMENT", element))


@dataclass(frozen=True)
class Case:
    """A PE's place, the shape of an attention, a launch, and where its numbers come from."""

    pe: OnePe
    dtype: type[np.generic]
    kv_heads: int
    group: int
    head_dim: int
    width: int
    a: int
    capacity: int
    size: int
    b: int
    start: int
    rows: int
    is_causal: bool
    seed: int
    spare: int = 0
    """Slots between the rows of scores, beyond those in use."""

    @property
    def heads(self) -> attention.LocalHeads:
        return attention.local_heads(
            self.a,
            width=self.width,
            head_dim=self.head_dim,
            features=self.kv_heads * self.head_dim,
        )

    @property
    def num_heads(self) -> int:
        return self.kv_heads * self.group

    @property
    def most(self) -> int:
        """One more than needed here: another PE may have more heads."""
        return (len(self.heads.sizes) + 1) * self.group

    @property
    def slots(self) -> int:
        in_use = attention.num_slots(self.start + self.rows, self.b, self.size)
        return min(int(in_use) + self.spare, self.capacity)

    @property
    def reach_and_step(self) -> tuple[int, int]:
        return (self.start + 1, 1) if self.is_causal else (self.start + self.rows, 0)

    @property
    def lengths(self) -> np.ndarray[Any, Any]:
        reach, step = self.reach_and_step
        return attention.row_lengths(self.rows, reach=reach, step=step, b=self.b, size=self.size)

    def numbers(self, *shape: int, dtype: type[np.generic] | None = None) -> Any:
        """Return normal numbers, a few of them zeros of either sign."""
        generator = np.random.default_rng((self.seed, *shape))
        values = generator.standard_normal(shape)
        zeros = generator.choice([0.0, -0.0], shape)
        return np.where(generator.random(shape) < 0.1, zeros, values).astype(dtype or self.dtype)

    def padded(self, *shape: int) -> Any:
        """Return numbers `[…, width, …]`; features behind the last one are NaN."""
        values = self.numbers(*shape)
        values[:, sum(self.heads.sizes) :] = np.nan
        return values

    def share(self) -> None:
        """Let the PE make its tables, and compare them."""
        features = self.kv_heads * self.head_dim
        place = (self.a, self.width, self.head_dim, features)
        self.pe.launch("share", *place, self.rows, *self.reach_and_step, self.b, self.size)
        words = self.heads.words
        assert tuple(self.pe.read("heads", len(words))) == words
        np.testing.assert_array_equal(self.pe.read("lengths", self.rows), self.lengths)

    def write_guarded(self, name: str, num_elements: int, dtype: type[np.generic]) -> None:
        """Fill the place of a result with NaN, and the elements behind it with numbers."""
        values = np.concatenate((np.full(num_elements, np.nan), _BEHIND))
        self.pe.write(name, values.astype(dtype))

    def read_guarded(self, name: str, *shape: int) -> Any:
        """Read a result, and see that what lies behind it is untouched."""
        size = int(np.prod(shape))
        values = self.pe.read(name, size + len(_BEHIND))
        np.testing.assert_array_equal(values[size:], _BEHIND)
        return values[:size].reshape(shape)

    def filled_cache(self) -> Any:
        """Return a cache that holds all positions so far; where none is, NaN."""
        cache = np.full(2 * self.width * self.capacity, np.nan, self.dtype)
        end = self.start + self.rows
        keys, values = self.padded(end, self.width), self.padded(end, self.width) * self.dtype(2)
        attention.append(
            cache,
            keys,
            values,
            self.heads,
            start=0,
            capacity=self.capacity,
            b=self.b,
            size=self.size,
        )
        return cache


@pytest.fixture(params=["wse2", "wse3"])
def arch(request):
    return request.param


@pytest.fixture(params=sorted(DTYPES))
def element(request):
    return request.param


@st.composite
def cases(draw, arch: str, element: str) -> Case:
    """Draw PEs anywhere, behind the last feature and behind the last position too."""

    def among(*values: int) -> int:
        return draw(st.sampled_from(values))

    kv_heads, head_dim, width = among(3, 1, 2), among(2, 1, 3, 5), among(4, 1, 2, 3, 6)
    capacity, size = among(8, 1, 2, 3, 5), among(2, 1, 3, 4)
    rows = min(among(2, 1, 3, 4), capacity * size)
    num_blocks, last_start = -(-kv_heads * head_dim // width), capacity * size - rows
    return Case(
        load(arch, element),
        DTYPES[element],
        kv_heads=kv_heads,
        group=among(2, 1, 3),
        head_dim=head_dim,
        width=width,
        a=among(*range(num_blocks), num_blocks),
        capacity=capacity,
        size=size,
        b=among(*range(size)),
        start=among(last_start // 2, 0, min(1, last_start), last_start),
        rows=rows,
        is_causal=draw(st.booleans()),
        seed=draw(st.integers(0, 99)),
        spare=among(0, 1),
    )


def test_append(arch, element):
    @given(cases(arch, element))
    def check(case):
        case.share()
        expected = case.numbers(2 * case.width * case.capacity)
        keys = case.padded(case.rows, case.width)
        values = case.padded(case.rows, case.width) * case.dtype(2)
        case.pe.write("kv", expected)
        case.pe.write("left", keys)
        case.pe.write("right", values)
        place = (case.capacity, case.b, case.size)
        case.pe.launch("append", case.start, case.rows, case.width, *place)
        attention.append(
            expected,
            keys,
            values,
            case.heads,
            start=case.start,
            capacity=case.capacity,
            b=case.b,
            size=case.size,
        )
        assert_same_bits(case.pe.read("kv", expected.size), expected)

    check()


def test_append_to_many_slots(arch, element):
    """A DSD's stride ends at 127."""
    pe = load(arch, element)
    for capacity in (127, 128, 200):
        case = Case(
            pe,
            DTYPES[element],
            kv_heads=2,
            group=1,
            head_dim=3,
            width=4,
            a=0,
            capacity=capacity,
            size=2,
            b=1,
            start=250,
            rows=4,
            is_causal=True,
            seed=5,
        )
        case.share()
        expected = np.zeros(2 * 4 * capacity, case.dtype)
        keys, values = case.numbers(4, 4), case.numbers(4, 4) + case.dtype(1)
        pe.write("kv", expected)
        pe.write("left", keys)
        pe.write("right", values)
        pe.launch("append", 250, 4, 4, capacity, 1, 2)
        attention.append(
            expected, keys, values, case.heads, start=250, capacity=capacity, b=1, size=2
        )
        assert np.count_nonzero(expected) > 8
        assert_same_bits(pe.read("kv", expected.size), expected)


def test_scores(arch, element):
    @given(cases(arch, element))
    def check(case):
        case.share()
        cache = case.filled_cache()
        queries = case.padded(case.rows, case.width, case.group)
        shape = (case.rows, case.num_heads, case.slots)
        case.pe.write("kv", cache)
        case.pe.write("left", queries)
        case.write_guarded("scores", int(np.prod(shape)), np.float32)
        case.pe.launch("score", *_sizes(case), case.width, case.capacity)
        keys, _ = attention.split_cache(cache, case.heads, width=case.width, capacity=case.capacity)
        expected = attention.scores(
            queries, keys, case.heads, case.lengths, slots=case.slots, num_heads=case.num_heads
        )
        assert not np.isnan(expected).any()
        assert_same_bits(case.read_guarded("scores", *shape), expected)

    check()


def test_softmax(arch, element):
    @given(cases(arch, element), st.sampled_from([0.125, 0.3, -1.5]))
    def check(case, scale):
        case.share()
        shape = (case.rows, case.num_heads, case.slots)
        scores = case.numbers(*shape, dtype=np.float32)
        if case.slots:
            case.pe.write("scores", scores)
        case.write_guarded("maxima", case.rows * case.most, np.float32)
        case.pe.launch("largest", *_sizes(case), case.most, scale)
        maxima = attention.maxima(
            scores, case.heads, case.lengths, group=case.group, most=case.most, scale=scale
        )
        assert_same_bits(case.read_guarded("maxima", case.rows, case.most), maxima)

        row = case.most + case.group * case.width
        largest = np.where(np.isinf(maxima), np.float32(3), maxima + np.float32(0.5))
        case.pe.write("maxima", largest)
        case.write_guarded("totals", case.rows * row, np.float32)
        case.pe.launch("weigh", *_sizes(case), case.most, case.width)
        sums = attention.weights(
            scores, largest, case.heads, case.lengths, _halve, group=case.group
        )
        totals = case.read_guarded("totals", case.rows, row)
        assert_same_bits(totals[:, : case.most], sums)
        assert_same_bits(totals[:, case.most :], np.zeros_like(totals[:, case.most :]))
        if case.slots:
            is_seen = np.arange(case.slots) < case.lengths[:, np.newaxis, np.newaxis]
            actual = case.pe.read("scores", *shape)
            assert_same_bits(np.where(is_seen, actual, 0), np.where(is_seen, scores, 0))

    check()


def test_values(arch, element):
    @given(cases(arch, element))
    def check(case):
        case.share()
        cache = case.filled_cache()
        weights = case.numbers(case.rows, case.num_heads, case.slots, dtype=np.float32)
        row = case.most + case.group * case.width
        totals = np.zeros((case.rows, row), np.float32)
        totals[:, : case.most] = case.numbers(case.rows, case.most) + 5
        case.pe.write("kv", cache)
        if case.slots:
            case.pe.write("scores", weights)
        case.write_guarded("totals", totals.size, np.float32)
        case.pe.write("totals", totals)
        case.pe.launch("sum", *_sizes(case), case.most, case.width, case.capacity)
        _, cached = attention.split_cache(
            cache, case.heads, width=case.width, capacity=case.capacity
        )
        sums = attention.values(
            weights, cached, case.heads, case.lengths, group=case.group, width=case.width
        )
        assert not np.isnan(sums).any()
        totals[:, case.most :] = sums.reshape(case.rows, -1)
        assert_same_bits(case.read_guarded("totals", case.rows, row), totals)

        case.write_guarded("result", case.rows * case.width * case.group, case.dtype)
        case.pe.launch("divide", case.rows, case.group, case.most, case.width)
        expected = attention.divide(
            totals[:, : case.most], sums, case.heads, dtype=np.dtype(case.dtype)
        )
        assert_same_bits(case.read_guarded("result", *expected.shape), expected)

    check()


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


def _sizes(case: Case) -> tuple[int, int, int, int]:
    return case.rows, case.slots, case.num_heads, case.group


def _halve(values: Any) -> Any:
    return arithmetic.multiply(values, np.float32(0.5))
