"""Attention over a rectangle of PEs, from the mirrors of the kernels alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.mesh import arithmetic
from onewafer.mesh.attention import arrays as attention
from onewafer.mesh.attention.arrays import LocalHeads, local_heads, most_heads, row_lengths

if TYPE_CHECKING:
    from collections.abc import Callable

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

    @property
    def num_heads(self) -> int:
        return self.kv_heads * self.group

    def cut(self, queries: Array, keys: Array, values: Array) -> tuple[Array, Array, Array]:
        """Return the blocks of q `[num_a, rows, width, group]`, of k and of v `[…, width]`.

        `queries` are `[rows, heads, dim]`, `keys` and `values` `[rows, kv heads, dim]`.
        """
        rows = len(queries)
        grouped = queries.reshape(rows, self.kv_heads, self.group, self.head_dim).swapaxes(-1, -2)
        q = self._blocks(grouped.reshape(rows, self.features, self.group))
        k, v = (self._blocks(item.reshape(rows, self.features, 1)) for item in (keys, values))
        return q, k[..., 0], v[..., 0]

    def join(self, blocks: Array) -> Array:
        """Return the result `[rows, heads, dim]` of blocks like those of q; padding is +0."""
        whole = np.concatenate(list(blocks), axis=1)
        assert not whole[:, self.features :].view(f"u{whole.itemsize}").any()
        whole = whole[:, : self.features].reshape(len(whole), self.kv_heads, -1, self.group)
        return whole.swapaxes(-1, -2).reshape(len(whole), self.num_heads, self.head_dim)

    def _blocks(self, array: Array) -> Array:
        """Return `[num_a, rows, width, …]`; padding is NaN."""
        padding = self.num_a * self.width - self.features
        padded = np.pad(array, ((0, 0), (0, padding), (0, 0)), constant_values=np.nan)
        return padded.reshape(len(array), self.num_a, self.width, -1).swapaxes(0, 1)


class Rectangle:
    """The caches of all PEs, and what a launch does with them."""

    def __init__(
        self,
        shape: Shape,
        dtype: type[np.generic],
        exponential: Callable[[Array], Array],
    ) -> None:
        self.shape, self.dtype, self.exponential = shape, dtype, exponential
        elements = 2 * shape.width * shape.capacity
        self.caches = np.full((shape.num_a, shape.num_b, elements), np.nan, dtype)

    def launch(self, queries: Array, keys: Array, values: Array, start: int, scale: float) -> Array:
        """Attend from `queries` `[rows, heads, head_dim]` to all positions so far."""
        shape, rows = self.shape, len(queries)
        b = np.arange(shape.num_b)
        reach, step = (start + 1, 1) if shape.is_causal else (start + rows, 0)
        lengths = row_lengths(rows, reach=reach, step=step, b=b, size=shape.num_b)
        slots = shape.capacity
        q, k, v = shape.cut(queries, keys, values)
        partial = list[Array]()
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
            partial.append(
                attention.scores(
                    replicas,
                    cached_keys,
                    shape.heads(a),
                    lengths,
                    slots=slots,
                    num_heads=shape.num_heads,
                )
            )
        scores = chain(arithmetic.add, partial)
        blocks = [self._attend(a, scores.copy(), lengths, scale) for a in range(shape.num_a)]
        return shape.join(np.stack(blocks))

    def _attend(self, a: int, scores: Array, lengths: Array, scale: float) -> Array:
        """Return the result of the PEs at `a`, `[rows, width, group]`, from whole scores."""
        shape, heads = self.shape, self.shape.heads(a)
        maxima = attention.maxima(
            scores, heads, lengths, group=shape.group, most=shape.most, scale=scale
        )
        whole = np.broadcast_to(chain(arithmetic.maximum, list(maxima)), maxima.shape)
        sums = attention.weights(scores, whole, heads, lengths, self.exponential, group=shape.group)
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

    def _replicas(self, block: Array) -> Array:
        return np.broadcast_to(block, (self.shape.num_b, *block.shape))


def chain(operation: Any, blocks: list[Array]) -> Array:
    """Combine blocks from the last to the first, as a chain does."""
    total = blocks[-1]
    for block in blocks[-2::-1]:
        total = operation(block, total)
    return total
