"""The mirrors of the attention kernels, chained over a rectangle, against exact attention."""

from __future__ import annotations

import itertools
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.mesh import Axis, Launch, functions
from onewafer.mesh.attention import AttentionShape
from onewafer.mesh.attention.arrays import (
    count_heads,
    local_heads,
    most_heads,
    num_slots,
    row_lengths,
)
from tests.mesh.attention.attention_rectangle import Array, Rectangle, Shape


def exact(queries: Array, keys: Array, values: Array, mask: Array, scale: float) -> Array:
    """Return softmax(q·kᵀ·scale + mask)·v in f64.

    `queries` are `[rows, heads, dim]`, `keys` and `values` `[positions, kv heads, dim]`.
    """
    group = queries.shape[1] // keys.shape[1]
    q = queries.astype(np.float64)
    k, v = (np.repeat(item.astype(np.float64), group, axis=1) for item in (keys, values))
    scores = np.einsum("rhd,shd->hrs", q, k) * scale
    scores = np.where(mask, scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.einsum("hrs,shd->rhd", weights / weights.sum(axis=-1, keepdims=True), v)


@st.composite
def shapes(draw):
    kv_heads, head_dim = draw(st.integers(1, 3)), draw(st.integers(1, 6))
    width = draw(st.integers(1, kv_heads * head_dim + 1))
    num_b, capacity = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    group = draw(st.integers(1, 3))
    return Shape(kv_heads, group, head_dim, width, num_b, capacity, draw(st.booleans()))


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 3e-6), (np.float16, 2e-3)])
def test_chained_steps_are_attention(dtype, tolerance):
    @given(shapes(), st.data())
    def check(shape, data):
        positions = shape.num_b * shape.capacity
        launches = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
        ends = [end for end in itertools.accumulate(launches, initial=0) if end <= positions]
        generator = np.random.default_rng(data.draw(st.integers(0, 99)))
        heads = shape.kv_heads * shape.group
        queries = generator.standard_normal((ends[-1], heads, shape.head_dim)).astype(dtype)
        keys, values = generator.standard_normal(
            (2, ends[-1], shape.kv_heads, shape.head_dim)
        ).astype(dtype)
        rectangle = Rectangle(shape, dtype, functions.exponential)
        for start, end in itertools.pairwise(ends):
            rows, so_far = slice(start, end), slice(end)
            result = rectangle.launch(queries[rows], keys[rows], values[rows], start, scale=0.4)
            position = np.arange(end)
            limits = np.arange(start, end) + 1 if shape.is_causal else np.full(end - start, end)
            mask = position < limits[:, np.newaxis]
            expected = exact(queries[rows], keys[so_far], values[so_far], mask, scale=0.4)
            np.testing.assert_allclose(result, expected, atol=tolerance, rtol=0)

    check()


def test_heads_need_not_end_where_blocks_do():
    sizes = {"width": 5, "head_dim": 3, "features": 9}
    assert local_heads(0, **sizes).words == (0, 2, 3, 2)
    assert local_heads(1, **sizes).words == (1, 2, 1, 3)
    assert list(local_heads(1, **sizes).blocks()) == [(1, slice(0, 1)), (2, slice(1, 4))]
    assert local_heads(2, **sizes).sizes == ()
    assert most_heads(2, **sizes) == 2
    assert most_heads(3, width=4, head_dim=2, features=12) == 2
    assert most_heads(3, width=4, head_dim=8, features=12) == 1


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 6), st.integers(1, 40))
def test_counted_heads_are_those_of_each_pe(num_pes, width, head_dim, features):
    sizes = {"width": width, "head_dim": head_dim, "features": features}
    found = [local_heads(a, **sizes).sizes for a in range(num_pes)]

    heads, of_pes = count_heads(num_pes, **sizes)

    assert heads.tolist() == [len(of_pe) for of_pe in found]
    assert of_pes.tolist() == [sum(of_pe) for of_pe in found]


@given(st.integers(0, 50), st.integers(1, 7))
def test_slots_are_those_of_cyclic_positions(limit, size):
    counts = [int(num_slots(limit, b, size)) for b in range(size)]
    assert counts == [len(range(b, limit, size)) for b in range(size)]
    np.testing.assert_array_equal(num_slots(limit, np.arange(size), size), counts)


def test_infinite_score_is_nan_as_in_exact_attention():
    """One NaN spoils the rows that attend to it, and no other."""
    shape = Shape(1, 1, 2, 1, 2, 2, is_causal=True)
    queries = keys = np.ones((4, 1, 2), np.float32)
    keys = keys.copy()
    keys[2, 0, 1] = np.nan
    result = Rectangle(shape, np.float32, functions.exponential).launch(
        queries, keys, queries, 0, scale=1.0
    )
    np.testing.assert_array_equal(np.isnan(result[:, 0, 0]), [False, False, True, True])


@given(st.booleans(), st.integers(0, 40), st.integers(1, 40), st.integers(1, 7), st.integers(1, 5))
def test_sizes_count_what_every_row_attends_to(is_causal, start, rows, num_b, width):
    """Kinds of rows stand for the rows: as many attend to as many slots on every PE."""
    shape = AttentionShape(
        axis=Axis.Y, num_pes=4, kv_heads=2, group=3, head_dim=4, width=width, capacity=80,
        is_causal=is_causal, rows=rows, table=0,
    )  # fmt: skip
    program = SimpleNamespace(size=lambda axis: 4 if axis is Axis.Y else num_b)
    sizes = shape.sizes(program, Launch.at(start, rows))  # pyright: ignore[reportArgumentType]
    first = start if is_causal else 0
    reach, step = (first + 1, 1) if is_causal else (rows, 0)
    places = np.arange(num_b)
    lengths = row_lengths(rows, reach=reach, step=step, b=places, size=num_b)
    for b, of_rows in enumerate(lengths):
        counts = Counter(of_rows[of_rows > 0].tolist())
        seen = dict(zip(sizes["seen"][:, 0, 0].tolist(), sizes["seeing"][:, 0, b], strict=True))
        assert {n: count for n, count in seen.items() if count} == counts
    np.testing.assert_array_equal(sizes["attended"][0, 0], lengths.sum(axis=1))
    owners = np.arange(first, first + rows) % num_b
    np.testing.assert_array_equal(sizes["kept"][0, 0], np.bincount(owners, minlength=num_b))
    labels = shape.classes.labels
    for a, label in enumerate(labels):
        local = shape.local_heads(a).sizes
        assert (sizes["heads"][0, label, 0], sizes["features"][0, label, 0]) == (
            len(local),
            sum(local),
        )


def test_a_long_prompt_is_a_few_kinds_of_rows():
    shape = AttentionShape(Axis.X, 96, 3, 3, 64, 2, 86, is_causal=True, rows=4096, table=0)
    program = SimpleNamespace(size=lambda axis: 96 if axis is Axis.X else 128)
    assert len(shape.sizes(program, Launch.at(0, 4096))["seen"]) == 32  # pyright: ignore[reportArgumentType]
