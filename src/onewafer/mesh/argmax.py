"""Argmax of a blocked row on NumPy arrays, bit for bit as `kernels/argmax.csl` computes it.

A PE's block is `[…, columns]`; `present` of its columns are no padding, and its first one has index
`first` in the whole row, both arrays of the leading dimensions. After `largest` and `candidate` a
maximum is taken along the axis of the blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.mesh import arithmetic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.float32]
    Integers = NDArray[np.integer[Any]]

_LOWEST = np.float32(-np.inf)


def largest(blocks: NDArray[Any], present: Integers) -> Words:
    """Return the largest element of each block as f32; −∞ if all is padding, NaN if one is."""
    is_present = _is_present(present, blocks.shape[-1])
    result = np.full(present.shape, _LOWEST)
    for column in range(blocks.shape[-1]):
        larger = arithmetic.maximum(result, blocks[..., column].astype(np.float32))
        result = np.where(is_present[..., column], larger, result)
    return result


def candidate(blocks: NDArray[Any], wanted: Words, present: Integers, first: Integers) -> Words:
    """Return −index of each block's first element that is `wanted`, −∞ without one."""
    values, wanted = blocks.astype(np.float32), wanted[..., np.newaxis]
    is_wanted = (values == wanted) | (np.isnan(values) & np.isnan(wanted))
    is_found = _is_present(present, blocks.shape[-1]) & is_wanted
    indices = (first + is_found.argmax(axis=-1)).astype(np.float32)
    return np.where(is_found.any(axis=-1), -indices, _LOWEST)


def index(words: Words) -> NDArray[np.int32]:
    """Return the index from the largest candidate."""
    return (-words).astype(np.int32)


def _is_present(present: Integers, num_columns: int) -> NDArray[np.bool_]:
    """Return `[…, columns]`: whether a column is no padding."""
    return np.arange(num_columns) < present[..., np.newaxis]
