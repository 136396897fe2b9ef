"""The mirrors of the attention kernels, chained over a rectangle, against exact attention."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.mesh import arithmetic, attention
from onewafer.mesh.attention import LocalHeads, local_heads, most_heads, num_slots, row_lengths

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Shape:
    """An attention on `num_a` × `num_b` PEs."""

    kv_heads: int
    group: int
    head_dim: int
    width: int
    num_b: int
    capacity: int
    is_causal: bool

    @property
    def features(self) -> int:
        return self.kv_heads * self.head_dim

    @property
    def num_a(self) -> int:
        return -(-self.features // self.width)

    def heads(self, a: int) -> LocalHeads:
        return local_heads(a, width=self.width, head_dim=self.head_dim, features=self.features)

    @property
    def most(self) -> int:
        sizes = {"width": self.width, "head_dim": self.head_dim, "features": self.features}
        return self.group * most_heads(self.num_a, **sizes)


class Rectangle:
    """The caches of all PEs, and what a launch does with them."""

    def __init__(self, shape: Shape, dtype: type[np.generic]) -> None:
        self.shape, self.dtype = shape, dtype
        elements = 2 * shape.width * shape.capacity
        self.caches = np.full((shape.num_a, shape.num_b, elements), np.nan, dtype)

    def launch(self, queries: Array, keys: Array, values: Array, start: int, scale: float) -> Array:
        """Attend from `queries` `[rows, heads, head_dim]` to all positions so far."""
        shape, rows = self.shape, len(queries)
        b = np.arange(shape.num_b)
        reach, step = (start + 1, 1) if shape.is_causal else (start + rows, 0)
        lengths = row_lengths(rows, reach=reach, step=step, b=b, size=shape.num_b)
        slots = shape.capacity
        grouped = queries.reshape(rows, shape.kv_heads, shape.group, shape.head_dim)
        q = self._blocks(grouped.swapaxes(-1, -2).reshape(rows, shape.features, shape.group))
        k, v = (
            self._blocks(item.reshape(rows, shape.features, 1))[..., 0] for item in (keys, values)
        )

        partial = []
        for a in range(shape.num_a):
            attention.append(
                self.caches[a],
                self._replicas(k[a]),
                self._replicas(v[a]),
                shape.heads(a),
                start=start,
                capacity=shape.capacity,
                b=b,
                size=shape.num_b,
            )
            cached_keys, _ = self._cached(a)
            replicas = self._replicas(q[a])
            heads = shape.kv_heads * shape.group
            partial.append(
                attention.scores(
                    replicas, cached_keys, shape.heads(a), lengths, slots=slots, num_heads=heads
                )
            )
        scores = chain(arithmetic.add, partial)
        blocks = [self._attend(a, scores.copy(), lengths, scale) for a in range(shape.num_a)]
        result = np.concatenate(blocks, axis=1)
        assert not result[:, shape.features :].any()
        result = result[:, : shape.features].reshape(rows, shape.kv_heads, -1, shape.group)
        return result.swapaxes(-1, -2).reshape(queries.shape)

    def _attend(self, a: int, scores: Array, lengths: Array, scale: float) -> Array:
        """Return the result of the PEs at `a`, `[rows, width, group]`, from whole scores."""
        shape, heads = self.shape, self.shape.heads(a)
        maxima = attention.maxima(
            scores, heads, lengths, group=shape.group, most=shape.most, scale=scale
        )
        whole = np.broadcast_to(chain(arithmetic.maximum, list(maxima)), maxima.shape)
        sums = attention.weights(scores, whole, heads, lengths, np.exp, group=shape.group)
        _, cached = self._cached(a)
        weighted = attention.values(
            scores, cached, heads, lengths, group=shape.group, width=shape.width
        )
        sums, weighted = chain(arithmetic.add, list(sums)), chain(arithmetic.add, list(weighted))
        return attention.divide(sums, weighted, heads, dtype=np.dtype(self.dtype))

    def _cached(self, a: int) -> tuple[Array, tuple[Array, ...]]:
        shape = self.shape
        return attention.split_cache(
            self.caches[a], shape.heads(a), width=shape.width, capacity=shape.capacity
        )

    def _blocks(self, array: Array) -> Array:
        """Return `[num_a, rows, width, …]`; padding is NaN."""
        shape = self.shape
        padding = shape.num_a * shape.width - shape.features
        padded = np.pad(array, ((0, 0), (0, padding), (0, 0)), constant_values=np.nan)
        return padded.reshape(len(array), shape.num_a, shape.width, -1).swapaxes(0, 1)

    def _replicas(self, block: Array) -> Array:
        return np.broadcast_to(block, (self.shape.num_b, *block.shape))


def chain(operation: Any, blocks: list[Array]) -> Array:
    """Combine blocks from the last to the first, as a chain does."""
    total = blocks[-1]
    for block in blocks[-2::-1]:
        total = operation(block, total)
    return total


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


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float16, 5e-3)])
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
        rectangle = Rectangle(shape, dtype)
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
    result = Rectangle(shape, np.float32).launch(queries, keys, queries, 0, scale=1.0)
    np.testing.assert_array_equal(np.isnan(result[:, 0, 0]), [False, False, True, True])
