"""The local parts of the backward passes of norms on all PEs, as `norm_gradient.csl` computes them.

Arrays are those of `arrays.py`. `squares`, `sums` of a LayerNorm, and `totals` are over all PEs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.mesh.functions import rsqrt
from onewafer.mesh.norms.arrays import add_by_group, centre, groups_of, of_group

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.mesh.norms.arrays import Groups

    Floats = NDArray[Any]  # of f32
    Indices = NDArray[np.intp]


def sum_products(
    values: Floats,
    at: Indices,
    groups: Groups,
    *,
    gradient: Floats,
    weight: Floats,
    sums: Floats | None,
) -> Floats:
    """Return sums of weighted gradients times values by row and group.

    With `sums`, values are less their means, and the sums of weighted gradients come behind.
    """
    group_of = groups_of(values, at, groups)
    with np.errstate(all="ignore"):
        given = gradient * weight
        products = centre(values, group_of, groups, sums) * given
        inner = add_by_group(products, group_of, groups)
        if sums is None:
            return inner
        return np.concatenate([inner, add_by_group(given, group_of, groups)], axis=-1)


def back(
    values: Floats,
    at: Indices,
    groups: Groups,
    *,
    gradient: Floats,
    weight: Floats,
    totals: Floats,
    squares: Floats,
    sums: Floats | None,
    epsilon: float,
) -> Floats:
    """Return the gradient of the values; 0 in the padding."""
    group_of = groups_of(values, at, groups)
    inner = totals[..., : groups.num_groups]
    with np.errstate(all="ignore"):
        factor = rsqrt(squares * groups.share + np.float32(epsilon))
        slope = factor * factor * (inner * groups.share)
        given = gradient * weight
        along = centre(values, group_of, groups, sums) * of_group(slope, group_of)
        if sums is not None:
            mean = totals[..., groups.num_groups :] * groups.share
            given = given - of_group(mean, group_of)
        result = (given - along) * of_group(factor, group_of)
        return np.where(group_of[..., np.newaxis, :] >= 0, result, np.float32(0))


def add_to_weight(
    gradients: Floats,
    values: Floats,
    at: Indices,
    groups: Groups,
    *,
    gradient: Floats,
    squares: Floats,
    sums: Floats | None,
    epsilon: float,
) -> Floats:
    """Return gradients `[…, columns]` of a weight, with what each row adds, in ascending order."""
    group_of = groups_of(values, at, groups)
    with np.errstate(all="ignore"):
        factor = rsqrt(squares * groups.share + np.float32(epsilon))
        normalized = centre(values, group_of, groups, sums) * of_group(factor, group_of)
        products = normalized * gradient
        total = gradients
        for row in range(products.shape[-2]):
            total = total + products[..., row, :]
        return np.where(group_of >= 0, total, gradients)
