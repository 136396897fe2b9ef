"""The mirrors of the attention kernels, chained over a rectangle, against exact attention."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.mesh import functions
from onewafer.mesh.attention import local_heads, most_heads, num_slots
from tests.mesh.attention_rectangle import Array, Rectangle, Shape


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
