"""The local parts of RmsNorm and LayerNorm on all PEs, as `norm.csl` computes them.

Blocks are `[height, width, rows, columns]` in f16 or f32, totals `[height, width, rows, groups]` in
f32, `at` says which block of the features each PE holds, `[height, width]`. A weight or bias is the
block that belongs to the input's, `[height, width, 1, columns]`. Every element is computed with the
same operations in the same order as on the fabric.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.mesh.functions import rsqrt

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]
    Floats = NDArray[Any]  # of f32
    Indices = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Groups:
    """How features form groups that are normalized each on its own."""

    num_groups: int
    group_size: int
    """Features a group."""
    num_members: int = 1
    """The groups that interleave: of a bundle of `num_members · group_size` features, feature f is
    in group f mod `num_members` of the bundle."""

    @property
    def num_features(self) -> int:
        """Features of all groups, without padding."""
        return self.num_groups * self.group_size

    @property
    def share(self) -> np.float32:
        """1 / `group_size`, rounded; 1 if nothing is there to share."""
        return np.float32(1) / np.float32(max(self.group_size, 1))

    def group_of(self, features: Indices) -> Indices:
        """Return the group of each feature; −1 for padding."""
        bundle = features // (self.group_size * self.num_members)
        group = bundle * self.num_members + features % self.num_members
        return np.where(features < self.num_features, group, -1)


def sum_groups(values: Array, at: Indices, groups: Groups) -> Floats:
    """Return the sums of each PE's features by row and group; 0 where it has none of a group."""
    return add_by_group(values.astype(np.float32), groups_of(values, at, groups), groups)


def sum_squares(
    values: Array, at: Indices, groups: Groups, *, sums: Floats | None = None
) -> Floats:
    """Return the sums of squares by row and group.

    With `sums` over all PEs, of the differences from the mean of the group.
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
    """Return the normalized values, in the type of `values` and rounded once; 0 in the padding.

    `squares`, and `sums` for LayerNorm, are over all PEs.
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
    """Return for each column the mean of its group, 0 for padding."""
    group_of = groups.group_of(at[..., np.newaxis] * columns + np.arange(columns))
    with np.errstate(all="ignore"):
        means = of_group(totals * groups.share, group_of)
    return np.where(group_of[..., np.newaxis, :] >= 0, means, np.float32(0))


def groups_of(values: Array, at: Indices, groups: Groups) -> Indices:
    """Return the group of each PE's columns, −1 for padding: `[height, width, columns]`."""
    columns = int(values.shape[-1])
    return groups.group_of(at[..., np.newaxis] * columns + np.arange(columns))


def of_group(totals: Floats, group_of: Indices) -> Floats:
    """Return for each column the total of its group (of any group for padding)."""
    index = np.broadcast_to(
        np.maximum(group_of, 0)[..., np.newaxis, :], (*totals.shape[:-1], group_of.shape[-1])
    )
    return np.take_along_axis(totals, index, axis=-1)


def centre(values: Array, group_of: Indices, groups: Groups, sums: Floats | None) -> Floats:
    """Return the values in f32, less the mean of their group if its sum is given."""
    singles = values.astype(np.float32)
    return singles if sums is None else singles - of_group(sums * groups.share, group_of)


def add_by_group(values: Floats, group_of: Indices, groups: Groups) -> Floats:
    """Add up the columns of each group in ascending order, one rounding a column."""
    totals = np.zeros((*values.shape[:-1], groups.num_groups), np.float32)
    group = np.arange(groups.num_groups)
    with np.errstate(all="ignore"):
        for column in range(values.shape[-1]):
            is_group = (group_of[..., column, np.newaxis] == group)[..., np.newaxis, :]
            totals = np.where(is_group, totals + values[..., column, np.newaxis], totals)
    return totals
