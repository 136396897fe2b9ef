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
from tests.mesh.one_pe import DTYPES, Array, Numbers, OnePe, load_one_pe
from tests.mesh.strategies import assert_same_bits

BODY = """
const shares = @import_module("shares.csl");
const kv_append = @import_module("kv_append.csl", .{ .element = ELEMENT });
const scores_kernel = @import_module("scores.csl", .{ .element = ELEMENT });
const softmax = @import_module("softmax.csl", .{ .exponential = halve });
const values_kernel = @import_module("values.csl", .{ .element = ELEMENT });

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
fn turn(slots: u16, width: u16, capacity: u16) void {
  kv_append.turn(turned_dsd, kv_dsd, heads, slots, width, capacity);
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
"""
FUNCTIONS = {
    "share": ", ".join(["u16"] * 9),
    "append": ", ".join(["u16"] * 6),
    "turn": ", ".join(["u16"] * 3),
    "score": ", ".join(["u16"] * 6),
    "largest": ", ".join([*["u16"] * 5, "f32"]),
    "weigh": ", ".join(["u16"] * 6),
    "sum": ", ".join(["u16"] * 7),
    "divide": ", ".join(["u16"] * 4),
}


@cache
def load(arch: str, element: str) -> OnePe:
    """Compile all kernels for one generation and storage type."""
    arrays = {
        "heads": Array("u16", 16),
        "lengths": Array("u16", 16),
        "kv": Array(element, 2000),
        "turned": Array(element, 2000),
        "left": Array(element, 200),
        "right": Array(element, 200),
        "result": Array(element, 200),
        "scores": Array("f32", 2000),
        "maxima": Array("f32", 200),
        "totals": Array("f32", 400),
    }
    return load_one_pe(load_architecture(arch), arrays, FUNCTIONS, BODY.replace("ELEMENT", element))


@dataclass(frozen=True)
class Case(Numbers):
    """A PE's place, the shape of an attention, a launch, and where its numbers come from."""

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
        draw(st.integers(0, 99)),
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


def check_turn(case: Case, slots: int) -> None:
    """Compare copies of keys and values of some slots, and what is left between them."""
    case.share()
    cache = case.numbers(2 * case.width * case.capacity)
    expected = np.full_like(cache, 7)
    case.pe.write("kv", cache)
    case.pe.write("turned", expected)
    case.pe.launch("turn", slots, case.width, case.capacity)
    sizes = {"width": case.width, "capacity": case.capacity}
    attention.turn(expected, cache, case.heads, slots=slots, **sizes)
    assert_same_bits(case.pe.read("turned", expected.size), expected)


def test_turn(arch, element):
    @given(cases(arch, element), st.integers(0, 8))
    def check(case, slots):
        check_turn(case, min(slots, case.capacity))

    check()


def test_turn_features_that_are_too_many_for_a_stride(arch, element):
    pe = load(arch, element)
    place = {"kv_heads": 1, "group": 1, "a": 0, "size": 2, "b": 1, "start": 4, "rows": 2}
    for width in (127, 128, 150):
        shape = {"head_dim": width, "width": width, "capacity": 5}
        case = Case(pe, DTYPES[element], 5, **place, **shape, is_causal=True)
        check_turn(case, 3)


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


def _sizes(case: Case) -> tuple[int, int, int, int]:
    return case.rows, case.slots, case.num_heads, case.group


def _halve(values: Any) -> Any:
    return arithmetic.multiply(values, np.float32(0.5))
