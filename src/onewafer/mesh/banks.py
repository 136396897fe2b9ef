"""The banks of memory, in which some operations read their sources in turns (M13).

An operation with two sources in memory that advance alike takes longer if they begin in words of
32 bits that are equal modulo 4. Arenas begin in words that are 0 modulo 4 (`emit_csl`), so offsets
decide; `lowering.phases` chooses them.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from onewafer.graph import DataType
    from onewafer.mesh.program import Block

PERIOD_BYTES = 16
"""Addresses that differ by a multiple of it lie in the same banks, as far as conflicts go."""
WORD_BYTES = 4


def period(dtype: DataType) -> int:
    """Return the elements after which banks repeat."""
    return PERIOD_BYTES // dtype.num_bytes


def bank(offset: int, dtype: DataType) -> int:
    """Return in which bank, modulo 4, an element of an arena lies."""
    return offset * dtype.num_bytes % PERIOD_BYTES // WORD_BYTES


def bank_of(offsets: NDArray[np.int64], dtype: DataType) -> NDArray[np.int64]:
    """Return in which bank, modulo 4, each of some elements of an arena lies."""
    return offsets * dtype.num_bytes % PERIOD_BYTES // WORD_BYTES


def row_banks(block: Block, num_rows: int, dtype: DataType) -> Counter[int]:
    """Return how many of the first rows of a block begin in each bank, modulo 4."""
    offsets = (block.offset + row * block.columns for row in range(num_rows))
    return Counter(bank(offset, dtype) for offset in offsets)
