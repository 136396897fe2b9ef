"""NumPy functions of lookups and rotation, bit for bit as `lookup.csl` and `rotary.csl`.

The leading dimensions of arrays are those of PEs. `b` is the index of a PE's block along the axis
of a table: a number, or an array of these dimensions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.mesh import arithmetic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[Any]
    """An array of the storage type, f16 or f32."""
    Sums = NDArray[np.float32]
    Integers = NDArray[np.integer[Any]]

_MINUS_ZERO = np.float32(-0.0)


def rotate(values: Floats, cosine: Sums, sine: Sums) -> Floats:
    """Return `values` `[…, rows, width, group]` with neighbouring features rotated by their angles.

    `cosine` and `sine` are `[…, rows, width]`; `width` is even. Computed in f32.
    """
    source = values.astype(np.float32)
    straight = arithmetic.multiply(source, cosine[..., np.newaxis])
    even, odd = slice(0, None, 2), slice(1, None, 2)
    less = arithmetic.multiply(source[..., odd, :], sine[..., even, np.newaxis])
    more = arithmetic.multiply(source[..., even, :], sine[..., odd, np.newaxis])
    straight[..., even, :] = arithmetic.subtract(straight[..., even, :], less)
    straight[..., odd, :] = arithmetic.add(straight[..., odd, :], more)
    return arithmetic.round_to_half(straight) if values.dtype == np.float16 else straight


def look_up_tokens(table: Floats, ids: Integers, *, b: int | Integers) -> Sums:
    """Return columns `ids` `[…, rows]` of a table as rows `[…, rows, features]`.

    `table` `[…, features, entries]` is block `b` of the table; an entry of another block gives −0.
    """
    entries = table.shape[-1]
    index = ids - np.asarray(b)[..., np.newaxis] * entries
    is_held = (index >= 0) & (index < entries)
    columns = np.where(is_held, index, 0)[..., np.newaxis, :]
    held = np.take_along_axis(table, columns, axis=-1).swapaxes(-1, -2).astype(np.float32)
    return np.where(is_held[..., np.newaxis], held, _MINUS_ZERO)


def look_up_positions(table: Floats, *, start: int, rows: int, b: int | Integers) -> Sums:
    """Return rows start, start + 1, … of a table as `[…, rows, features]`.

    `table` `[…, entries, features]` is block `b` of the table; an entry of another block gives −0.
    """
    ids = np.broadcast_to(start + np.arange(rows), (*np.shape(b), rows))
    return look_up_tokens(table.swapaxes(-1, -2), ids, b=b)


def add_tokens(table: Sums, ids: Integers, rows: Sums, *, b: int | Integers) -> Sums:
    """Return a table `[…, features, entries]` with `rows` `[…, rows, features]` added to columns.

    Rows are added one by one; those for entries of other blocks than `b` are skipped.
    """
    entries, result = table.shape[-1], table.copy()
    index = ids - np.asarray(b)[..., np.newaxis] * entries
    is_held = (index >= 0) & (index < entries)
    places = np.where(is_held, index, 0)
    for row in range(rows.shape[-2]):
        place = places[..., row, np.newaxis, np.newaxis]
        column = np.take_along_axis(result, place, axis=-1)
        more = arithmetic.add(column, rows[..., row, :, np.newaxis])
        found = np.where(is_held[..., row, np.newaxis, np.newaxis], more, column)
        np.put_along_axis(result, place, found, axis=-1)
    return result


def add_positions(table: Sums, rows: Sums, *, start: int, b: int | Integers) -> Sums:
    """Return a table `[…, entries, features]` with `rows` added from row `start` on.

    Rows for entries of other blocks than `b` are skipped.
    """
    count = int(rows.shape[-2])
    ids = np.broadcast_to(start + np.arange(count), (*np.shape(b), count))
    return add_tokens(table.swapaxes(-1, -2), ids, rows, b=b).swapaxes(-1, -2)
