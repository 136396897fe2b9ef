"""The largest difference between the attention results of two evaluations, in f32.

A score is off by the errors of query and keys and by the roundings of its sum. A weight is then
off by a relative error: e to that distance, the error of exp, and the rounding of its exponent.
Weights that are all off by at most s, over their sum, are off by (1 + s)
(1 − s) − 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onewafer.mesh.distances import Bounded

if TYPE_CHECKING:
    from onewafer.graph import Attention
    from onewafer.mesh.distances import Distances, Float64

_LEAST = -80.0
"""Score differences below which a weight is lost in the rounding of larger weights."""


def bound_attention(operation: Attention, distances: Distances) -> Bounded:
    """Return the result of a launch and its error bound, slot by slot with the cached rows."""
    query, key, value = (distances.of(name) for name in operation.operands)
    whole = None if operation.factors is None else distances.of(operation.factors).exact
    errors: list[Float64] = []
    name = operation.result.name
    for slot, rows in distances.each_slot():
        keys, values = key[rows], value[rows]
        if operation.is_causal:
            keys = distances.keep(f"{name}.key", slot, keys)
            values = distances.keep(f"{name}.value", slot, values)
        first = slot.position if operation.is_causal else len(keys.exact)
        by_head = None if whole is None else whole[rows].reshape(slot.rows, operation.heads, -1)
        if operation.draw is not None and distances.seeds is not None:
            drawn = operation.draw.factors(distances.seeds, slot.position, slot.rows)
            by_head = drawn.reshape(slot.rows, operation.heads, -1)
        given = None if by_head is None else by_head[..., : len(keys.exact)]
        errors.append(_bound_slot(operation, (query[rows], keys, values), first, given, distances))
    exact = distances.exact[name]
    return distances.rounded(Bounded(exact, np.concatenate(errors).reshape(exact.shape)))


def _bound_slot(
    operation: Attention,
    operands: tuple[Bounded, Bounded, Bounded],
    first: int,
    factors: Float64 | None,
    distances: Distances,
) -> Float64:
    """Return the errors of one sequence's rows; the first row is at position `first`.

    Factors of probabilities are exact; multiplying a weight by one adds a rounding.
    """
    rows, positions = len(operands[0].exact), len(operands[1].exact)
    kv_heads, group = operation.kv_heads, operation.heads // operation.kv_heads
    query = operands[0].reshape(rows, kv_heads, group, -1)
    keys, values = (of.reshape(positions, kv_heads, -1) for of in operands[1:])
    is_seen = np.arange(positions) <= first + np.arange(rows)[:, np.newaxis]
    is_seen = is_seen[:, np.newaxis, np.newaxis]
    scores = operation.scale * np.einsum("rhgd,shd->rhgs", query.exact, keys.exact)
    scores = np.where(is_seen, scores, -np.inf)
    lower = scores - scores.max(axis=-1, keepdims=True)
    off = _score_errors(operation.scale, query, keys, distances)
    off += distances.gamma(2) * (np.where(is_seen, np.abs(scores), 0.0) + off)
    off += distances.gamma(1) * np.where(is_seen, np.abs(lower), 0.0)
    shares = np.expm1(off) + distances.gamma(8) * np.exp(off)
    share = np.where(lower > _LEAST, shares, 0.0).max(axis=-1, keepdims=True)
    weights = np.exp(lower)
    weights /= weights.sum(axis=-1, keepdims=True)
    gamma = distances.gamma(positions + distances.num_pes + 8 + (factors is not None))
    ratio = (1 + share) / (1 - share) * (1 + gamma)
    ratio = np.where(share < 1, ratio, np.inf)
    if factors is not None:
        weights *= np.abs(factors.reshape(weights.shape))
    of_values = np.einsum("rhgs,shd->rhgd", weights, values.magnitude)
    of_errors = np.einsum("rhgs,shd->rhgd", weights, values.error)
    return of_errors * ratio + of_values * (ratio - 1 + gamma * ratio)


def _score_errors(scale: float, query: Bounded, keys: Bounded, distances: Distances) -> Float64:
    """Return the error bound of each score before scaling and masking."""
    gamma = distances.gamma(keys.exact.shape[-1] + distances.num_pes + 2)
    most = np.einsum("rhgd,shd->rhgs", query.magnitude, keys.magnitude)
    plain = np.einsum("rhgd,shd->rhgs", np.abs(query.exact), np.abs(keys.exact))
    return scale * (most - plain + gamma * most)
