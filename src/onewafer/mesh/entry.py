"""An entry of the schedule: what the state machine in `pe.csl` reads before each step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onewafer.mesh.kinds import Kind

ENTRY_WORDS = 8
"""Words that every entry has; some kinds have more."""
MAX_WORD = 0xFFFF
"""The largest word of the schedule."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One step of the state machine; operands are element offsets in their arenas."""

    kind: Kind
    result: int = 0
    """REPEAT: the state's offset from round to round in elements, modulo 2¹⁶."""
    left: int = 0
    """REPEAT: the number of words to jump back."""
    right: int = 0
    """REPEAT: elements by which the parameters of the next round lie further on, modulo 2¹⁶.
    MATMULS, SPLIT, STORE_NORMALIZED: how many products there are."""
    n: int = 0
    """Elements of the result. MATMUL, CONVOLVE: columns of padding, over all PEs along the axis of
    the result; ADD_OUTER_PRODUCTS: of the left block. SUM_ROW_SQUARES: columns of the input block.
    REPEAT: rounds after the first."""
    rows: int = 0
    """0: as many as the launch has; 0xFFFF: as many as it has slots (`BlockRows`). `n` is then rows
    × columns of the launch, too."""
    columns: int = 0
    inner: int = 0
    """MATMUL, MATMULS: rows of the weight blocks. REDISTRIBUTE: columns of the input block.
    LOOK_UP: entries of the table block. ROTATE: members of a feature. TAKE_ROW: 0 is the first one,
    1 the last. CONVOLVE: columns of the input block. GLOBAL_AVERAGE_POOL, SCALE_FEATURE_MAPS:
    rows of a sample. FIND_LARGEST, CLAIM, TAKE_INDEX, GATHER: columns of the input block.
    MULTIPLY_PLAIN, MULTIPLY_TRANSPOSED: columns of the left block. SUM_ROW_SQUARES: features of a
    row."""
    more: tuple[int, ...] = ()
    """Further words, for kinds that need them."""
    parameter_words: tuple[int, ...] = ()
    """Indices of the words that are offsets in the arena of parameters, or one of equal layout."""
    state_words: tuple[int, ...] = ()
    """Indices of the words that are offsets in the arena of the state."""
    counters: tuple[int, ...] = ()
    """Indices of counting words: a repetition adds the word after it to each."""

    @property
    def words(self) -> tuple[int, ...]:
        """All words, in the order in which `pe.csl` reads them."""
        sizes = (self.n, self.rows, self.columns, self.inner)
        return (self.kind.number, self.result, self.left, self.right, *sizes, *self.more)

    def counting_by(self, count: int) -> Entry:
        """Return the entry of a repetition, which adds `count` to its counters in every round."""
        more = [*self.more]
        for index in self.counters:
            more[index + 1 - ENTRY_WORDS] = count & MAX_WORD
        return replace(self, more=tuple(more)) if self.counters else self

    @property
    def num_bytes(self) -> int:
        """Bytes of the words."""
        return 2 * len(self.words)


def float_words(value: float) -> tuple[int, int]:
    """Return a number in f32 as two words, low first."""
    bits = int(np.float32(value).view(np.uint32))
    return bits & 0xFFFF, bits >> 16
