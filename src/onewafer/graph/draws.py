"""Random bits as a function of row and feature, for dropout on the wafer.

The bits are the cipher Speck32/64 (Beaulieu and others, "The SIMON and SPECK Families of
Lightweight Block Ciphers", 2013) with 9 of its 22 rounds. Its key is the seeds of the launch and
the number of the dropout; its block is the feature and half the row number, so that one word of the
result is for an even row, the other for the odd row after it. An element has the same bits on any
rectangle of PEs, in the forward pass and again in the backward pass, and no generator has a state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint16]

SEEDS = "dropout_seeds"
"""The input with the seeds of a launch: i32 `[1, NUM_SEEDS]`, two words of the key and a flag."""
NUM_SEEDS = 3
MOST_FEATURES = 1 << 16
"""Features of a row that get independent bits: the feature is 16 bits of the block."""
DRAWN_BITS = 15
"""Random bits for each element."""
ROUNDS = 9
"""With 5 rounds, rows keep uneven numbers of elements; with fewer than 9, seeds that differ in one
bit keep similar elements (tests/graph/test_draws.py)."""


def draw_bits(
    seeds: NDArray[Any], number: int, rows: NDArray[Any], features: NDArray[Any]
) -> Words:
    """Return `DRAWN_BITS` random bits for each element; `rows` and `features` broadcast.

    `seeds` are those of the launch, `number` that of the dropout.
    """
    first, *others = (int(word) for word in _halves(seeds)[:4])
    key = (first ^ number) & _MASK
    x = np.broadcast_to(features, np.broadcast_shapes(np.shape(rows), np.shape(features)))
    x, y = x.astype(np.uint16), np.asarray(rows >> 1, np.uint16)
    for index in range(ROUNDS):
        x = (_turn(x, 9) + y) ^ np.uint16(key)
        y = _turn(y, 2) ^ x
        following = ((key + _rotated(others[0], 9)) & _MASK) ^ index
        others = [*others[1:], following]
        key = _rotated(key, 2) ^ following
    return np.where(rows & 1, y, x) & np.uint16((1 << DRAWN_BITS) - 1)


@dataclass(frozen=True, slots=True)
class Draw:
    """The random choice of a dropout: which elements are kept and scaled, and which become 0.

    An element whose random bits are below the threshold becomes 0.
    """

    number: int
    """The number of the dropout among those of a launch."""
    threshold: int
    """From 0 (all elements are kept) to 2¹⁵."""
    features: int
    """The number of elements of a row."""

    @staticmethod
    def threshold_of(share: float) -> int:
        """Return the threshold that drops about this share of the elements."""
        return round(share * _ALL)

    @property
    def factor(self) -> float:
        """The factor of kept elements: one over their share, in f32."""
        kept = _ALL - self.threshold
        return float(np.float32(_ALL / kept)) if kept else 0.0

    def wrong_number(self) -> str | None:
        """Return an error about the number or the threshold, or None."""
        if not 0 <= self.threshold <= _ALL:
            return f"its threshold is {self.threshold}, must be 0 to {_ALL}"
        if not 0 <= self.number < _MOST_NUMBERS:
            return f"its number is {self.number}, must be 0 to {_MOST_NUMBERS - 1}"
        return None

    def factors(self, seeds: NDArray[Any], first: int, num_rows: int) -> NDArray[np.float64]:
        """Return the factors of `num_rows` rows from row `first` on.

        Factors other than 0 are exact f32. In an evaluation, all are 1.
        """
        if not are_drawn(seeds):
            return np.ones((num_rows, self.features))
        rows = first + np.arange(num_rows)[:, np.newaxis]
        bits = draw_bits(seeds, self.number, rows, np.arange(self.features))
        return np.where(bits >= self.threshold, self.factor, 0.0)


def are_drawn(seeds: NDArray[Any]) -> bool:
    """Tell whether a launch drops elements; an evaluation keeps all."""
    return bool(seeds[0, NUM_SEEDS - 1])


_MASK = 0xFFFF
_ALL = 1 << DRAWN_BITS
_MOST_NUMBERS = 1 << 16


def _halves(seeds: NDArray[Any]) -> Words:
    """Return the 16-bit halves of the seeds, the lower half of each first."""
    words = np.asarray(seeds, np.int64).reshape(-1) & 0xFFFF_FFFF
    return np.stack([words & _MASK, words >> 16], axis=-1).reshape(-1).astype(np.uint16)


def _turn(words: Words, bits: int) -> Words:
    """Return words with their bits rotated to the left."""
    return (words << np.uint16(bits)) | (words >> np.uint16(16 - bits))


def _rotated(word: int, bits: int) -> int:
    return (word << bits | word >> (16 - bits)) & _MASK
