"""Memory banks, and the operations whose two sources conflict in a bank (M13).

An operation with two sources in memory and equal strides is slower if both begin in 32-bit words
that are equal modulo 4. Arenas begin at words that are 0 modulo 4 (`emit_csl`), so offsets decide;
`lowering.phases` chooses them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from onewafer.graph import DataType
    from onewafer.mesh.blocks import Block

_Offsets = TypeVar("_Offsets", int, "NDArray[np.int64]")

PERIOD_BYTES = 16
"""The period of the banks: addresses that differ by a multiple of it share a bank."""
WORD_BYTES = 4


def period(dtype: DataType) -> int:
    """Return the number of elements after which the banks repeat."""
    return PERIOD_BYTES // dtype.num_bytes


def bank(offset: _Offsets, dtype: DataType) -> _Offsets:
    """Return the bank, modulo 4, of an arena element, or of each of several elements."""
    return offset * dtype.num_bytes % PERIOD_BYTES // WORD_BYTES


def row_banks(block: Block, num_rows: int, dtype: DataType) -> Counter[int]:
    """Return how many of the first rows of a block begin in each bank, modulo 4."""
    in_a_period = period(dtype)
    counts: Counter[int] = Counter()
    for row in range(min(num_rows, in_a_period)):  # then the banks repeat
        times = (num_rows - row - 1) // in_a_period + 1
        counts[bank(block.offset + row * block.columns, dtype)] += times
    return counts


def count_shared(block: Block, vectors: Block, num_rows: int, dtype: DataType) -> int:
    """Count the rows of a block that begin in the same bank as their vector.

    Each of the `vectors` belongs to equally many consecutive rows.
    """
    share = num_rows // vectors.rows
    count = 0
    for index in range(vectors.rows):
        rows = replace(block, offset=block.offset + index * share * block.columns)
        vector = bank(vectors.offset + index * vectors.columns, dtype)
        count += row_banks(rows, share, dtype)[vector]
    return count
