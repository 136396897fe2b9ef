"""NumPy functions of the local steps of norms, their backward passes and softmax.

They compute every element with the same operations in the same order as `norm.csl`,
`norm_gradient.csl` and `group_softmax.csl`. Blocks are `[height, width, rows, columns]` in f16 or
f32; totals, sums, squares and maxima are `[height, width, rows, groups]` in f32; `at` is the index
of each PE's block of features, `[height, width]`. A weight or bias is
`[height, width, 1, columns]`, laid out as the columns of the input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.mesh import arithmetic
from onewafer.mesh.functions import exponential, rsqrt

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]
    Floats = NDArray[Any]  # of f32
    Indices = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups of features that are normalized separately."""

    num_groups: int
    group_size: int
    """Features of each group."""
    num_members: int = 1
    """The number of interleaved groups: feature f of a bundle of `num_members · group_size`
    features is in group f mod `num_members` of the bundle."""

    @property
    def num_features(self) -> int:
        """The features of all groups, without padding."""
        return self.num_groups * self.group_size

    @property
    def share(self) -> np.float32:
        """1 / `group_size`, rounded; 1 for empty groups."""
        return np.float32(1) / np.float32(max(self.group_size, 1))

    def group_of(self, features: Indices) -> Indices:
        """Return the group of each feature; −1 for padding."""
        bundle = features // (self.group_size * self.num_members)
        group = bundle * self.num_members + features % self.num_members
        return np.where(features < self.num_features, group, -1)


def sum_groups(values: Array, at: Indices, groups: Groups) -> Floats:
    """Return the sum of each PE's features, by row and group; 0 for a group it has none of."""
    return add_by_group(values.astype(np.float32), groups_of(values, at, groups), groups)


def sum_squares(
    values: Array, at: Indices, groups: Groups, *, sums: Floats | None = None
) -> Floats:
    """Return the sum of squares of each PE's features, by row and group.

    With `sums`, reduced over all PEs, they are squares of differences from the group's mean.
    """
    group_of = groups_of(values, at, groups)
    with np.errstate(all="ignore"):
        centred = centre(values, group_of, groups, sums)
        return add_by_group(centred * centred, group_of, groups)


def normalize(
    values: Array,
    at: Indices,
    groups: Groups,
    *,
    squares: Floats,
    epsilon: float,
    weight: Array,
    sums: Floats | None = None,
    bias: Array | None = None,
) -> Array:
    """Return the normalized values in the type of `values`, rounded once; 0 in the padding.

    `squares`, and `sums` for LayerNorm, are reduced over all PEs.
    """
    group_of = groups_of(values, at, groups)
    with np.errstate(all="ignore"):
        factor = rsqrt(squares * groups.share + np.float32(epsilon))
        result = centre(values, group_of, groups, sums) * of_group(factor, group_of)
        result = result * weight.astype(np.float32)
        if bias is not None:
            result = result + bias.astype(np.float32)
        is_feature = group_of[..., np.newaxis, :] >= 0
        return np.where(is_feature, result, np.float32(0)).astype(values.dtype)


def spread(totals: Floats, at: Indices, groups: Groups, columns: int) -> Floats:
    """Return the mean of the group of each column; 0 for padding."""
    group_of = groups.group_of(at[..., np.newaxis] * columns + np.arange(columns))
    with np.errstate(all="ignore"):
        means = of_group(totals * groups.share, group_of)
    return np.where(group_of[..., np.newaxis, :] >= 0, means, np.float32(0))


def groups_of(values: Array, at: Indices, groups: Groups) -> Indices:
    """Return the group of each column of each PE, `[height, width, columns]`; −1 for padding."""
    columns = int(values.shape[-1])
    return groups.group_of(at[..., np.newaxis] * columns + np.arange(columns))


def of_group(totals: Floats, group_of: Indices) -> Floats:
    """Return the total of the group of each column; padding gets that of any group."""
    index = np.broadcast_to(
        np.maximum(group_of, 0)[..., np.newaxis, :], (*totals.shape[:-1], group_of.shape[-1])
    )
    return np.take_along_axis(totals, index, axis=-1)


def centre(values: Array, group_of: Indices, groups: Groups, sums: Floats | None) -> Floats:
    """Return the values in f32, less the mean of their group if `sums` is given."""
    singles = values.astype(np.float32)
    return singles if sums is None else singles - of_group(sums * groups.share, group_of)


def add_by_group(values: Floats, group_of: Indices, groups: Groups) -> Floats:
    """Add up the columns of each group in ascending order, rounding each sum."""
    totals = np.zeros((*values.shape[:-1], groups.num_groups), np.float32)
    group = np.arange(groups.num_groups)
    with np.errstate(all="ignore"):
        for column in range(values.shape[-1]):
            is_group = (group_of[..., column, np.newaxis] == group)[..., np.newaxis, :]
            totals = np.where(is_group, totals + values[..., column, np.newaxis], totals)
    return totals


def sum_products(
    values: Floats,
    at: Indices,
    groups: Groups,
    *,
    gradient: Floats,
    weight: Floats,
    sums: Floats | None,
) -> Floats:
    """Return the sums of weighted gradients times values, by row and group.

    With `sums`, values are less their means, and the sums of weighted gradients follow as more
    columns.
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
    """Return a weight's gradient `[…, columns]` with the products of all rows added in order."""
    group_of = groups_of(values, at, groups)
    with np.errstate(all="ignore"):
        factor = rsqrt(squares * groups.share + np.float32(epsilon))
        normalized = centre(values, group_of, groups, sums) * of_group(factor, group_of)
        products = normalized * gradient
        total = gradients
        for row in range(products.shape[-2]):
            total = total + products[..., row, :]
        return np.where(group_of >= 0, total, gradients)


def find_maxima(values: Array, at: Indices, groups: Groups) -> Floats:
    """Return the largest feature of each PE, by row and group; −∞ for a group it has none of."""
    group_of, singles = groups_of(values, at, groups), values.astype(np.float32)
    largest = np.full((*values.shape[:-1], groups.num_groups), -np.inf, np.float32)
    group = np.arange(groups.num_groups)
    for column in range(values.shape[-1]):
        is_group = (group_of[..., column, np.newaxis] == group)[..., np.newaxis, :]
        larger = arithmetic.maximum(largest, singles[..., column, np.newaxis])
        largest = np.where(is_group, larger, largest)
    return largest


def weigh(values: Array, at: Indices, groups: Groups, *, largest: Floats) -> tuple[Floats, Floats]:
    """Return exp(value − maximum of its group), and the sums of these by row and group.

    The exponentials of padding are undefined.
    """
    group_of = groups_of(values, at, groups)
    rest = arithmetic.subtract(values.astype(np.float32), of_group(largest, group_of))
    weights = exponential(rest)
    return weights, add_by_group(weights, group_of, groups)


def divide(
    weights: Floats, at: Indices, groups: Groups, *, totals: Floats, dtype: np.dtype[Any]
) -> Array:
    """Return the exponentials over their totals, rounded to f32, then to `dtype`; padding is +0."""
    group_of = groups_of(weights, at, groups)
    with np.errstate(all="ignore"):
        reciprocals = np.float32(1) / totals
        probabilities = arithmetic.multiply(weights, of_group(reciprocals, group_of))
        probabilities = np.where(group_of[..., np.newaxis, :] >= 0, probabilities, np.float32(0))
        return probabilities.astype(dtype)
