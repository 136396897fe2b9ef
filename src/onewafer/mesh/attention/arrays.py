"""The local steps of attention on NumPy arrays, bit for bit as the kernels compute them.

Features of k lie along one axis of the rectangle (A), `width` on each PE; positions lie along the
other (B), cyclically: position s is on the PE b = s mod `size` of it, in slot s div `size`. Blocks
of features need not end where heads end. The `group` query heads that share a kv head have their
features beside each other: a block of q is `[rows, width, group]`, and so is one of the result.

    append       kv_append.csl     k and v of the launch's rows into the cache
    scores       scores.csl        partial Q·Kᵀ
    add_bias     score_bias.csl    partial Q·Kᵀ + a share of the bias; then a sum along A
    maxima       softmax.csl       scaled scores, largest of each row; then a maximum along B
    weights      softmax.csl       exp(score − maximum), sums of them
    values       values.csl        weighted sums of v; then one sum of both along B
    divide       values.csl        weighted sums ÷ sums of weights

Arrays have any leading dimensions: those of the PEs that share `a`, their place along the axis of
the features. Where a PE's place `b` along the other axis counts, it comes as a number or as an
array of these dimensions. `rows` are the rows that are worked on, the valid ones of a launch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.mesh import arithmetic
from onewafer.mesh.functions import reciprocal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Floats = NDArray[Any]
    """An array of the storage type, f16 or f32."""
    Sums = NDArray[np.float32]
    Integers = NDArray[np.integer[Any]]

_MINUS_ZERO = np.float32(-0.0)


@dataclass(frozen=True, slots=True)
class LocalHeads:
    """The kv heads that a PE has features of."""

    first: int
    """Index of the first local head among the heads of the score blocks."""
    sizes: tuple[int, ...]
    """Local features of each head, at least 1."""

    @property
    def words(self) -> tuple[int, ...]:
        """The head table, as `shares.csl` writes it."""
        return (self.first, len(self.sizes), *self.sizes)

    def blocks(self) -> Iterator[tuple[int, slice]]:
        """Yield each kv head and the slice of its features in the PE's block."""
        ends = np.cumsum((0, *self.sizes)).tolist()
        for head, (start, end) in enumerate(pairwise(ends), self.first):
            yield head, slice(start, end)


def local_heads(a: int, *, width: int, head_dim: int, features: int) -> LocalHeads:
    """Return the heads of PE `a`; `features` is kv heads · `head_dim`, without padding."""
    first, end = a * width, min((a + 1) * width, features)
    sizes: list[int] = []
    while first < end:
        sizes.append(min(head_dim - first % head_dim, end - first))
        first += sizes[-1]
    return LocalHeads(a * width // head_dim, tuple(sizes))


@cache
def most_heads(num_pes: int, *, width: int, head_dim: int, features: int) -> int:
    """Return the largest number of kv heads that any of the PEs along A has features of."""
    heads, _ = count_heads(num_pes, width=width, head_dim=head_dim, features=features)
    return int(heads.max())


def count_heads(
    num_pes: int, *, width: int, head_dim: int, features: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Count the kv heads with features on each PE along A, and those features.

    They are those of its `local_heads`.
    """
    first = width * np.arange(num_pes)
    end = np.minimum(first + width, features)
    heads = (end - 1) // head_dim - first // head_dim + 1
    return np.where(first < end, heads, 0), np.maximum(end - first, 0)


def num_slots(limit: int | Integers, b: int | Integers, size: int) -> NDArray[np.intp]:
    """Return how many positions below `limit` the PE `b` of `size` keeps."""
    return np.maximum(-((b - np.asarray(limit)) // size), 0)


def row_lengths(
    rows: int, *, reach: int, step: int, b: int | Integers, size: int
) -> NDArray[np.intp]:
    """Return `[…, rows]`, the slots that a row attends to: row r, positions below reach + r·step.

    Causal: `reach` is start + 1 and `step` 1; bidirectional: start + rows and 0.
    """
    limits = reach + step * np.arange(rows)
    return num_slots(limits, np.asarray(b)[..., np.newaxis], size)


def append(
    cache: Floats,
    keys: Floats,
    values: Floats,
    heads: LocalHeads,
    *,
    start: int,
    capacity: int,
    b: int | Integers,
    size: int,
) -> None:
    """Store the rows of `keys` and `values` `[…, rows, width]` that a PE keeps in its `cache`.

    Row r is position start + r. The cache is `[…, 2 · width · capacity]`, see `split_cache`.
    """
    width = keys.shape[-1]
    cached_keys, cached_values = split_cache(cache, heads, width=width, capacity=capacity)
    for row in range(keys.shape[-2]):
        is_owner = (np.asarray(b) == (start + row) % size)[..., np.newaxis]
        slot = (start + row) // size
        column = cached_keys[..., slot]
        column[...] = np.where(is_owner, keys[..., row, :], column)
        for (_, block), cached in zip(heads.blocks(), cached_values, strict=True):
            kept = cached[..., slot, :]
            kept[...] = np.where(is_owner, values[..., row, block], kept)


def turn(
    transposed: Floats, cache: Floats, heads: LocalHeads, *, width: int, capacity: int, slots: int
) -> None:
    """Swap keys and values: copy those of the first `slots` to `transposed`."""
    keys, values = split_cache(cache, heads, width=width, capacity=capacity)
    to_keys, to_values = split_cache(transposed, heads, width=width, capacity=capacity)
    for (_, block), to, of in zip(heads.blocks(), to_values, values, strict=True):
        to[..., :slots, :] = keys[..., block, :slots].swapaxes(-1, -2)
        to_keys[..., block, :slots] = of[..., :slots, :].swapaxes(-1, -2)


def split_cache(
    cache: Floats, heads: LocalHeads, *, width: int, capacity: int
) -> tuple[Floats, tuple[Floats, ...]]:
    """Return views: keys `[…, width, capacity]`, and values `[…, capacity, features]` of each head.

    Scores are vectors over slots, so keys are stored by feature; results are vectors over features,
    so values are stored by slot.
    """
    keys = cache[..., : width * capacity].reshape(*cache.shape[:-1], width, capacity)
    return keys, split_slots(cache[..., width * capacity :], heads, capacity=capacity)


def split_slots(kept: Floats, heads: LocalHeads, *, capacity: int) -> tuple[Floats, ...]:
    """Return views `[…, capacity, features]` of cached rows, one view for each local head."""
    leading = kept.shape[:-1]
    return tuple(
        kept[..., block.start * capacity : block.stop * capacity].reshape(*leading, capacity, -1)
        for _, block in heads.blocks()
    )


def scores(
    queries: Floats,
    keys: Floats,
    heads: LocalHeads,
    lengths: Integers,
    *,
    slots: int,
    num_heads: int,
) -> Sums:
    """Return partial sums `[…, rows, num_heads, slots]` of q·k over the features that a PE has.

    `queries` are `[…, rows, width, group]`, `keys` `[…, width, capacity]`, `lengths` `[…, rows]`. A
    sum starts at −0 and takes the features in ascending order; heads without a local feature and
    slots that a row does not attend to are −0.
    """
    *leading, rows, _, group = queries.shape
    result = np.full((*leading, rows, num_heads, slots), _MINUS_ZERO)
    seen = is_seen(lengths, slots)
    for head, block in heads.blocks():
        sums = np.full((*leading, rows, group, slots), _MINUS_ZERO)
        for feature in range(block.start, block.stop):
            query = queries[..., feature, :, np.newaxis]
            key = keys[..., np.newaxis, np.newaxis, feature, :slots]
            sums = _multiply_add(sums, query, key)
        sums = np.where(seen, sums, _MINUS_ZERO)
        result[..., head * group : (head + 1) * group, :] = sums
    return result


def add_bias(scores: Sums, bias: Floats, *, at: int) -> None:
    """Add the bias block of PE `at` along A to its `scores` `[…, rows, num_heads, slots]`.

    `bias` is `[…, share, capacity]`; its rows are those of `scores` with all heads, from row
    `at` · share on.
    """
    *_, rows, num_heads, slots = scores.shape
    share = bias.shape[-2]
    first = at * share
    for index in range(first, min(first + share, rows * num_heads)):
        sums = scores[..., index // num_heads, index % num_heads, :]
        more = bias[..., index - first, :slots].astype(np.float32)
        sums[...] = arithmetic.add(sums, more)


def maxima(
    scores: Sums, heads: LocalHeads, lengths: Integers, *, group: int, most: int, scale: float
) -> Sums:
    """Multiply the `scores` of the local heads by `scale`; return their maxima `[…, rows, most]`.

    The maximum is −∞ for heads that the PE lacks, and for rows that attend to none of its slots.
    """
    result = np.full((*scores.shape[:-2], most), -np.inf, np.float32)
    local = scores[..., query_heads(heads, group), :]
    local[...] = arithmetic.multiply(local, np.asarray(scale, np.float32))
    seen = is_seen(lengths, scores.shape[-1])
    for slot in range(scores.shape[-1]):
        largest = result[..., : local.shape[-2]]
        larger = arithmetic.maximum(largest, local[..., slot])
        largest[...] = np.where(seen[..., slot], larger, largest)
    return result


def weights(
    scores: Sums,
    maxima: Sums,
    heads: LocalHeads,
    lengths: Integers,
    exponential: Callable[[Sums], Sums],
    *,
    group: int,
) -> Sums:
    """Replace local heads' `scores` by exp(score − maximum); return their sums `[…, rows, most]`.

    Slots that a row does not attend to are undefined afterwards. Sums take slots in ascending order
    from +0.
    """
    result = np.zeros_like(maxima)
    local = scores[..., query_heads(heads, group), :]
    largest = maxima[..., : local.shape[-2], np.newaxis]
    seen = is_seen(lengths, scores.shape[-1])
    local[...] = exponential(np.where(seen, arithmetic.subtract(local, largest), local))
    for slot in range(scores.shape[-1]):
        sums = result[..., : local.shape[-2]]
        sums[...] = np.where(seen[..., slot], arithmetic.add(sums, local[..., slot]), sums)
    return result


def values(
    weights: Sums,
    cached: tuple[Floats, ...],
    heads: LocalHeads,
    lengths: Integers,
    *,
    group: int,
    width: int,
) -> Sums:
    """Return sums `[…, rows, group, width]` of weight · value over the slots a row attends to.

    `weights` are `[…, rows, heads, slots]`, `cached` the values of each local head. A sum starts at
    +0 and takes the slots in ascending order; with f16 values a weight is rounded to f16, and the
    product is exact.
    """
    result = np.zeros((*weights.shape[:-2], group, width), np.float32)
    seen = is_seen(lengths, weights.shape[-1])
    for (head, block), rows_of_values in zip(heads.blocks(), cached, strict=True):
        members = weights[..., head * group : (head + 1) * group, :].astype(rows_of_values.dtype)
        sums = result[..., block]
        for slot in range(weights.shape[-1]):
            weight = members[..., slot, np.newaxis]
            value = rows_of_values[..., np.newaxis, np.newaxis, slot, :]
            more = _multiply_add(sums, weight, value)
            sums[...] = np.where(seen[..., slot, np.newaxis], more, sums)
    return result


def divide(sums: Sums, weighted: Sums, heads: LocalHeads, *, dtype: np.dtype[Any]) -> Floats:
    """Return `weighted` `[…, rows, group, width]` by `sums` `[…, rows, most]` in the storage type.

    The result is `[…, rows, width, group]`: the product with the reciprocal of the sum, rounded
    to f32, and once more if the storage type is f16. Padding is +0.
    """
    *leading, group, width = weighted.shape
    result = np.zeros((*leading, width, group), dtype)
    for index, (_, block) in enumerate(heads.blocks()):
        reciprocals = reciprocal(sums[..., index * group : (index + 1) * group])
        quotients = arithmetic.multiply(weighted[..., block], reciprocals[..., np.newaxis])
        result[..., block, :] = _store(quotients, dtype).swapaxes(-1, -2)
    return result


def is_seen(lengths: Integers, slots: int) -> NDArray[np.bool_]:
    """Return the mask `[…, rows, 1, slots]` of the slots that each row attends to."""
    return np.arange(slots) < lengths[..., np.newaxis, np.newaxis]


def query_heads(heads: LocalHeads, group: int) -> slice:
    """Return the slice of query heads with features on a PE."""
    return slice(heads.first * group, (heads.first + len(heads.sizes)) * group)


def _multiply_add(sums: Sums, left: Floats, right: Floats) -> Sums:
    """Return f32 sums + left · right, one rounding: the product of two f16 is exact in f32."""
    is_half = right.dtype == np.float16
    left, right = left.astype(np.float32), right.astype(np.float32)
    if is_half:
        return arithmetic.add(sums, arithmetic.multiply(left, right))
    return arithmetic.fused_multiply_add(sums, left, right)


def _store(values: Sums, dtype: np.dtype[Any]) -> Floats:
    return arithmetic.round_to_half(values) if dtype == np.float16 else values
