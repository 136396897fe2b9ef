"""`norm.csl` on one PE that takes the place of any other, against `norms/arrays.py`."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.mesh.norms.arrays import Groups, normalize, sum_groups, sum_squares
from tests.mesh.one_pe import Array, OnePe, load_one_pe
from tests.mesh.strategies import assert_same_bits

if TYPE_CHECKING:
    from collections.abc import Sequence

ARCHES = ["wse2", "wse3"]
ELEMENTS = ["f16", "f32"]
DTYPES = {"f16": np.float16, "f32": np.float32}
MOST_ELEMENTS, MOST_TOTALS = 600, 120
SHAPE = "rows: u16, columns: u16, groups: u16, group_size: u16, members: u16, at: u16"
BODY = """
const functions = @import_module("functions.csl");
const pieces = @import_module("pieces.csl", .{ .element = ELEMENT, .functions = functions });
const norm = @import_module("norm.csl", .{
  .element = ELEMENT, .functions = functions, .pieces = pieces });

fn sum(SHAPE) void {
  norm.sum(sums, input_dsd, rows, columns, groups, group_size, members, at);
  sys_mod.unblock_cmd_stream();
}
fn sum_squares(SHAPE) void {
  norm.sum_squares(squares, input_dsd, rows, columns, groups, group_size, members, at);
  sys_mod.unblock_cmd_stream();
}
fn sum_centred_squares(SHAPE) void {
  norm.sum_centred_squares(squares, sums, 1.0 / @as(f32, group_size), input_dsd,
                           rows, columns, groups, group_size, members, at);
  sys_mod.unblock_cmd_stream();
}
fn scale(SHAPE, epsilon: f32) void {
  norm.scale(result_dsd, input_dsd, squares, weight_dsd, 1.0 / @as(f32, group_size), epsilon,
             rows, columns, groups, group_size, members, at);
  sys_mod.unblock_cmd_stream();
}
fn centre_and_scale(SHAPE, epsilon: f32) void {
  norm.centre_and_scale(result_dsd, input_dsd, sums, squares, weight_dsd, bias_dsd,
                        1.0 / @as(f32, group_size), epsilon,
                        rows, columns, groups, group_size, members, at);
  sys_mod.unblock_cmd_stream();
}
fn scale_in_place(SHAPE, epsilon: f32) void {
  norm.scale(input_dsd, input_dsd, squares, weight_dsd, 1.0 / @as(f32, group_size), epsilon,
             rows, columns, groups, group_size, members, at);
  sys_mod.unblock_cmd_stream();
}
"""
SUMS = ("sum", "sum_squares", "sum_centred_squares")
SCALINGS = ("scale", "centre_and_scale", "scale_in_place")


@cache
def load(arch: str, element: str) -> OnePe:
    """Compile the kernel for one generation and storage type."""
    arrays = {name: Array(element, MOST_ELEMENTS) for name in ("input", "result", "weight", "bias")}
    arrays |= {name: Array("f32", MOST_TOTALS) for name in ("sums", "squares")}
    functions = dict.fromkeys(SUMS, ", ".join(["u16"] * 6))
    functions |= dict.fromkeys(SCALINGS, ", ".join([*["u16"] * 6, "f32"]))
    body = BODY.replace("ELEMENT", element).replace("SHAPE", SHAPE)
    return load_one_pe(load_architecture(arch), arrays, functions, body)


def make_case(
    groups: Groups,
    *,
    rows: int,
    columns: int,
    at: int,
    seed: int = 0,
    spread: float = 1.0,
    epsilon: float = 1e-5,
    special: Sequence[float] = (),
) -> SimpleNamespace:
    """Build the block `at` of rows of groups, and totals of all groups."""
    generator = np.random.default_rng(seed)

    def numbers(*shape):
        exponents = generator.uniform(-spread, spread, shape)
        return generator.standard_normal(shape) * 10**exponents

    values = numbers(rows, columns)
    values.ravel()[: len(special)] = special[: values.size]
    totals = (1, 1, rows, groups.num_groups)
    return SimpleNamespace(
        groups=groups,
        at=at,
        epsilon=np.float32(epsilon),
        values=values,
        weight=numbers(1, columns),
        bias=numbers(1, columns),
        sums=numbers(*totals).astype(np.float32) * groups.group_size,
        squares=abs(numbers(*totals)).astype(np.float32),
    )


@st.composite
def cases(draw: st.DrawFn) -> SimpleNamespace:
    """Draw a block in the middle of the features, over their end, or behind it."""
    members = draw(st.sampled_from([1, 1, 2, 3]))
    size = draw(st.integers(1, 90) | st.just(40_000))  # more features than 16 bits count
    groups = Groups(members * draw(st.integers(1, 4)), size, members)
    columns = members * draw(st.integers(1, 200 // members))
    last = min(groups.num_features // columns + 1, (1 << 16) - 1)
    return make_case(
        groups,
        rows=draw(st.integers(1, 3)),
        columns=columns,
        at=draw(st.integers(0, last)),
        seed=draw(st.integers(0, 1 << 32)),
        spread=draw(st.sampled_from([0.0, 1.0, 4.0])),
        epsilon=draw(st.sampled_from([1e-5, 1e-6, 0.0])),
        special=draw(st.lists(st.sampled_from([np.nan, np.inf, -np.inf, -0.0, 6e4]), max_size=2)),
    )


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("element", ELEMENTS)
@given(case=cases())
@example(make_case(Groups(3, 10), rows=2, columns=7, at=2))  # a piece of two groups
@example(make_case(Groups(9, 10, 3), rows=2, columns=12, at=2))  # of two bundles
@example(make_case(Groups(1, 300), rows=1, columns=150, at=1))  # more than two chunks
@example(make_case(Groups(2, 11, 2), rows=3, columns=8, at=2))  # padding
@example(make_case(Groups(2, 11, 2), rows=3, columns=8, at=3))  # nothing else
@example(make_case(Groups(2, 40_000), rows=1, columns=120, at=333))  # features 39,960 to 40,079
def test_sums_and_scalings_agree_in_every_bit(arch, element, case):
    pe, groups, dtype = load(arch, element), case.groups, DTYPES[element]
    with np.errstate(over="ignore"):
        values, weight, bias = (a.astype(dtype) for a in (case.values, case.weight, case.bias))
    rows, columns = values.shape
    shape = (rows, columns, groups.num_groups, groups.group_size, groups.num_members, case.at)
    totals = case.sums.shape
    block, at = values[np.newaxis, np.newaxis], np.full((1, 1), case.at)
    for name, array in (("input", values), ("weight", weight), ("bias", bias)):
        pe.write(name, array)

    pe.launch("sum", *shape)
    assert_same_bits(pe.read("sums", *totals), sum_groups(block, at, groups))
    pe.launch("sum_squares", *shape)
    assert_same_bits(pe.read("squares", *totals), sum_squares(block, at, groups))
    pe.write("sums", case.sums)
    pe.launch("sum_centred_squares", *shape)
    expected = sum_squares(block, at, groups, sums=case.sums)
    assert_same_bits(pe.read("squares", *totals), expected)

    pe.write("squares", case.squares)
    options = {"squares": case.squares, "epsilon": case.epsilon, "weight": weight}
    centring = {"sums": case.sums, "bias": bias}
    for name, target, more in (
        ("scale", "result", {}),
        ("centre_and_scale", "result", centring),
        ("scale_in_place", "input", {}),
    ):
        behind = np.full(MOST_ELEMENTS - values.size, 7, dtype)
        pe.write(target, np.concatenate([values.ravel(), behind]))
        pe.launch(name, *shape, case.epsilon)
        written = pe.read(target, MOST_ELEMENTS)
        expected = normalize(block, at, groups, **options, **more)
        assert_same_bits(written[: values.size], expected.ravel())
        assert_same_bits(written[values.size :], behind)


def whole_norm(values, groups, *, num_blocks, weight, epsilon, bias=None):
    """Normalize rows whose features lie over `num_blocks` PEs."""
    rows, features = values.shape
    columns = -(-features // num_blocks)
    columns += -columns % groups.num_members

    def blocks(array):
        padded = np.full((len(array), num_blocks * columns), array.dtype.type(99))
        padded[:, :features] = array
        return padded.reshape(len(array), num_blocks, columns).swapaxes(0, 1)[np.newaxis]

    def over_all(parts):
        return np.broadcast_to(parts.sum(axis=1, keepdims=True), parts.shape)

    block, at = blocks(values), np.arange(num_blocks)[np.newaxis]
    more = {}
    if bias is not None:
        more = {"sums": over_all(sum_groups(block, at, groups)), "bias": blocks(bias)}
    squares = over_all(sum_squares(block, at, groups, sums=more.get("sums")))
    options = {"squares": squares, "epsilon": epsilon, "weight": blocks(weight)}
    result = normalize(block, at, groups, **options, **more)[0].swapaxes(0, 1)
    result = result.reshape(rows, -1)
    assert_same_bits(result[:, features:], np.zeros_like(result[:, features:]))
    return result[:, :features]


@pytest.mark.parametrize("num_blocks", [1, 3, 7])
@pytest.mark.parametrize("members", [1, 3])
def test_the_parts_make_an_rms_norm_of_each_group(num_blocks, members):
    groups = Groups(6, 10, members)
    generator = np.random.default_rng(3)
    values = generator.standard_normal((4, 60)).astype(np.float32)
    weight = generator.standard_normal((1, 60)).astype(np.float32)
    by_group = (4, 6 // members, 10, members)  # bundle, feature, member
    exact = values.astype(np.float64).reshape(by_group)
    exact = exact / np.sqrt(np.mean(exact**2, axis=2, keepdims=True) + 1e-5)
    result = whole_norm(values, groups, num_blocks=num_blocks, weight=weight, epsilon=1e-5)
    np.testing.assert_allclose(result, exact.reshape(4, 60) * weight, rtol=1e-6)


@pytest.mark.parametrize("num_blocks", [1, 3, 7])
def test_the_parts_make_a_layer_norm(num_blocks):
    generator = np.random.default_rng(4)
    values = (generator.standard_normal((4, 50)) + 3).astype(np.float32)
    weight, bias = generator.standard_normal((2, 1, 50)).astype(np.float32)
    exact = values.astype(np.float64)
    centred = exact - exact.mean(axis=1, keepdims=True)
    exact = centred / np.sqrt(np.mean(centred**2, axis=1, keepdims=True) + 1e-5) * weight + bias
    result = whole_norm(
        values, Groups(1, 50), num_blocks=num_blocks, weight=weight, epsilon=1e-5, bias=bias
    )
    np.testing.assert_allclose(result, exact, rtol=1e-5, atol=1e-6)
