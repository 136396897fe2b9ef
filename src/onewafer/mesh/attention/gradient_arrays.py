"""The backward pass of attention on NumPy arrays, bit for bit as `attention_gradient.csl`.

Arrays are those of `arrays.py`, in f32: `scores` and `products` `[…, rows, heads, slots]` are
complete, `rows_of` what lies as queries do, `[…, rows, width, group]`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.mesh import arithmetic
from onewafer.mesh.attention.arrays import is_seen, query_heads
from onewafer.mesh.attention.arrays import weights as weigh
from onewafer.mesh.functions import exponential, reciprocal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.mesh.attention.arrays import LocalHeads

    Sums = NDArray[np.float32]
    Integers = NDArray[np.integer[Any]]

_MINUS_ZERO = np.float32(-0.0)


def weights(
    scores: Sums,
    products: Sums,
    maxima: Sums,
    heads: LocalHeads,
    lengths: Integers,
    *,
    group: int,
) -> Sums:
    """Replace `scores` by exp(score − maximum), multiply `products` by these; return sums of both.

    They are `[…, rows, 2 · most]`, the sums of products last. Slots that a row does not attend to
    are undefined afterwards.
    """
    totals = weigh(scores, maxima, heads, lengths, exponential, group=group)
    inner, local = np.zeros_like(totals), query_heads(heads, group)
    found = inner[..., : len(heads.sizes) * group]
    seen, given = is_seen(lengths, scores.shape[-1]), products[..., local, :]
    given[...] = np.where(seen, arithmetic.multiply(given, scores[..., local, :]), given)
    for slot in range(scores.shape[-1]):
        more = arithmetic.add(found, given[..., slot])
        found[...] = np.where(seen[..., slot], more, found)
    return np.concatenate([totals, inner], axis=-1)


def back(
    scores: Sums,
    products: Sums,
    totals: Sums,
    heads: LocalHeads,
    lengths: Integers,
    *,
    group: int,
    scale: float,
) -> None:
    """Turn `scores` into probabilities, and `products` into the gradients of the scores."""
    local, count = query_heads(heads, group), len(heads.sizes) * group
    if not count:
        return
    most = totals.shape[-1] // 2
    share = reciprocal(totals[..., :count, np.newaxis])
    inner = totals[..., most : most + count, np.newaxis]
    seen = is_seen(lengths, scores.shape[-1])
    probabilities, given = scores[..., local, :], products[..., local, :]
    less = -arithmetic.multiply(inner, share)
    moved = arithmetic.fused_multiply_add(given, probabilities, less)
    moved = arithmetic.multiply(moved, arithmetic.multiply(share, np.asarray(scale, np.float32)))
    given[...] = np.where(seen, moved, given)
    probabilities[...] = np.where(seen, arithmetic.multiply(probabilities, share), probabilities)


def sum_keys(
    products: Sums,
    cached: tuple[Sums, ...],
    heads: LocalHeads,
    lengths: Integers,
    *,
    group: int,
    width: int,
) -> Sums:
    """Return sums `[…, rows, width, group]` of score gradient · key over the slots of each row.

    `cached` are the keys of each local head, `[…, capacity, features]`. A sum starts at −0 and
    takes the slots in ascending order.
    """
    result = np.full((*products.shape[:-2], width, group), _MINUS_ZERO)
    seen = is_seen(lengths, products.shape[-1])[..., np.newaxis]
    for (head, block), keys in zip(heads.blocks(), cached, strict=True):
        sums, first = result[..., block, :], head * group
        for slot in range(products.shape[-1]):
            factor = products[..., np.newaxis, first : first + group, slot]
            key = keys[..., np.newaxis, slot, :, np.newaxis]
            more = arithmetic.fused_multiply_add(sums, key, factor)
            sums[...] = np.where(seen[..., slot, :], more, sums)
    return result


def add_rows(
    result: Sums,
    factors: Sums,
    rows_of: Sums,
    heads: LocalHeads,
    lengths: Integers,
    *,
    group: int,
) -> None:
    """Add factor · row to `result` `[…, slots, width]`, over the rows and members of each slot.

    Rows are added in ascending order, with all members of a row together.
    """
    rows, slots = factors.shape[-3], factors.shape[-1]
    seen = is_seen(lengths, slots)[..., 0, :, np.newaxis]
    for head, block in heads.blocks():
        sums = result[..., block]
        for row in range(rows):
            for member in range(group):
                factor = factors[..., row, head * group + member, :, np.newaxis]
                features = rows_of[..., row, np.newaxis, block, member]
                more = arithmetic.fused_multiply_add(sums, features, factor)
                sums[...] = np.where(seen[..., row, :, :], more, sums)


def spread(kept: Sums, heads: LocalHeads, *, rows: int, start: int, b: Integers, size: int) -> Sums:
    """Return each row's sums on the PE that has its position, `[…, rows, width]`; −0 elsewhere."""
    result = np.full((*kept.shape[:-2], rows, kept.shape[-1]), _MINUS_ZERO)
    end = sum(heads.sizes)
    for row in range(rows):
        slot, place = divmod(start + row, size)
        is_owner = (np.asarray(b) == place)[..., np.newaxis]
        if slot < kept.shape[-2]:
            target = result[..., row, :end]
            target[...] = np.where(is_owner, kept[..., slot, :end], target)
    return result
