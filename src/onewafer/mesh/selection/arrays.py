"""NumPy functions of the search for the largest elements of rows, bit for bit as `selection.csl`.

A PE's block is `[…, columns]`, of which `present` columns are not padding; its first column has
index `first` in the whole row. Both are arrays of the leading dimensions. A maximum along the axis
of the blocks follows `largest` and `claim`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.mesh import arithmetic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.float32]
    Integers = NDArray[np.integer[Any]]

LOWEST = np.float32(-np.inf)
"""The value that stands for no element."""


def largest(rest: NDArray[Any], present: Integers) -> Words:
    """Return the largest element of each block as f32; −∞ for padding only, NaN if one is NaN."""
    is_present = _is_present(present, rest.shape[-1])
    result = np.full(present.shape, LOWEST)
    for column in range(rest.shape[-1]):
        larger = arithmetic.maximum(result, rest[..., column].astype(np.float32))
        result = np.where(is_present[..., column], larger, result)
    return result


def locate(
    blocks: NDArray[Any], wanted: Words, present: Integers, first: Integers, found: Integers
) -> Words:
    """Return minus the index of the first element equal to `wanted` in each block; −∞ if none.

    Elements whose indices are in `found`, `[…, any number]`, are skipped.
    """
    is_wanted = _is_same(blocks.astype(np.float32), wanted[..., np.newaxis])
    is_left = _is_present(present, blocks.shape[-1]) & ~_is_taken(found, first, blocks.shape[-1])
    indices = (first + (is_left & is_wanted).argmax(axis=-1)).astype(np.float32)
    return np.where((is_left & is_wanted).any(axis=-1), -indices, LOWEST)


def claim(words: Words, own: Words, places: Words) -> Words:
    """Return `places` where this PE's element equals the overall maximum, else −∞."""
    return np.where(_is_same(own, words), places, LOWEST)


def take(rest: NDArray[Any], words: Words, present: Integers, first: Integers) -> NDArray[Any]:
    """Return the blocks with −∞ at the indices `−words`."""
    columns = rest.shape[-1]
    is_taken = _is_taken(index(words)[..., np.newaxis], first, columns)
    return np.where(is_taken & _is_present(present, columns), rest.dtype.type(LOWEST), rest)


def features(blocks: NDArray[Any], wanted: Integers, present: Integers, first: Integers) -> Words:
    """Return the elements of blocks at the indices `wanted`; −0 for indices on other PEs."""
    places = wanted - first[..., np.newaxis]
    is_here = (places >= 0) & (places < present[..., np.newaxis])
    found = np.take_along_axis(blocks, np.where(is_here, places, 0), axis=-1)
    return np.where(is_here, found.astype(np.float32), np.float32(-0.0))


def index(words: Words) -> NDArray[np.int32]:
    """Return the indices whose negatives are `words`."""
    return (-words).astype(np.int32)


def _is_same(left: Words, right: Words) -> NDArray[np.bool_]:
    return (left == right) | (np.isnan(left) & np.isnan(right))


def _is_present(present: Integers, num_columns: int) -> NDArray[np.bool_]:
    """Return which columns are not padding, `[…, columns]`."""
    return np.arange(num_columns) < present[..., np.newaxis]


def _is_taken(found: Integers, first: Integers, num_columns: int) -> NDArray[np.bool_]:
    """Return which columns have an index in `found`, `[…, columns]`."""
    indices = first[..., np.newaxis] + np.arange(num_columns)
    return (indices[..., np.newaxis, :] == found[..., np.newaxis]).any(axis=-2)
