"""The local steps of softmax on all PEs, as `group_softmax.csl` computes them.

Blocks are `[height, width, rows, columns]` in f16 or f32, maxima and totals
`[height, width, rows, groups]` in f32; `at` says which block of the features each PE holds,
`[height, width]`. Every element is computed with the same operations in the same order as on the
fabric.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.mesh import arithmetic
from onewafer.mesh.functions import exponential
from onewafer.mesh.norms.arrays import add_by_group, groups_of, of_group

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.mesh.norms.arrays import Groups

    Array = NDArray[Any]
    Floats = NDArray[np.float32]
    Indices = NDArray[np.intp]


def find_maxima(values: Array, at: Indices, groups: Groups) -> Floats:
    """Return the largest feature of each row and group that a PE has; −∞ where it has none."""
    group_of, singles = groups_of(values, at, groups), values.astype(np.float32)
    largest = np.full((*values.shape[:-1], groups.num_groups), -np.inf, np.float32)
    group = np.arange(groups.num_groups)
    for column in range(values.shape[-1]):
        is_group = (group_of[..., column, np.newaxis] == group)[..., np.newaxis, :]
        larger = arithmetic.maximum(largest, singles[..., column, np.newaxis])
        largest = np.where(is_group, larger, largest)
    return largest


def weigh(values: Array, at: Indices, groups: Groups, *, largest: Floats) -> tuple[Floats, Floats]:
    """Return exp(value − largest of its group), and the sums of these by row and group.

    Weights in the padding mean nothing.
    """
    group_of = groups_of(values, at, groups)
    rest = arithmetic.subtract(values.astype(np.float32), of_group(largest, group_of))
    weights = exponential(rest)
    return weights, add_by_group(weights, group_of, groups)


def divide(
    weights: Floats, at: Indices, groups: Groups, *, totals: Floats, dtype: np.dtype[Any]
) -> Array:
    """Return the weights times the reciprocals of their totals, rounded to f32 and to `dtype`.

    Padding is +0.
    """
    group_of = groups_of(weights, at, groups)
    with np.errstate(all="ignore"):
        reciprocals = np.float32(1) / totals
        probabilities = arithmetic.multiply(weights, of_group(reciprocals, group_of))
        probabilities = np.where(group_of[..., np.newaxis, :] >= 0, probabilities, np.float32(0))
        return probabilities.astype(dtype)
