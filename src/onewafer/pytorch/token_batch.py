"""Tokens of several sequences as scripts give them: in columns, some of which are padding."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Sequences of equally many columns, of which an attention mask hides some."""

    ids: tuple[tuple[int, ...], ...]
    """The token in each column, for each sequence."""
    shown: tuple[tuple[bool, ...], ...]
    """True if it is one of the sequence; else it is padding."""
    positions: tuple[tuple[int, ...], ...]
    """Its position; 0 of padding, which has none."""

    @property
    def num_sequences(self) -> int:
        """Sequences, each with a row of columns."""
        return len(self.ids)

    @property
    def num_columns(self) -> int:
        """Tokens of a sequence, padding included."""
        return len(self.ids[0])

    @property
    def has_padding(self) -> bool:
        """True if anything is hidden."""
        return not all(map(all, self.shown))

    @property
    def is_plain(self) -> bool:
        """True if positions are how many tokens of the sequence come before."""
        sequences = range(self.num_sequences)
        return all(
            self.positions_of(sequence) == (*range(len(self.tokens_of(sequence))),)
            for sequence in sequences
        )

    def tokens_of(self, sequence: int) -> tuple[int, ...]:
        """Return the tokens of a sequence, without padding.

        >>> batch = TokenBatch(((0, 5, 3),), ((False, True, True),), ((0, 0, 1),))
        >>> batch.tokens_of(0), batch.positions_of(0)
        ((5, 3), (0, 1))
        """
        return tuple(compress(self.ids[sequence], self.shown[sequence]))

    def positions_of(self, sequence: int) -> tuple[int, ...]:
        """Return the positions of these tokens."""
        return tuple(compress(self.positions[sequence], self.shown[sequence]))

    def first_columns(self, count: int) -> TokenBatch:
        """Return the same sequences cut to their first columns."""
        return TokenBatch(
            tuple(row[:count] for row in self.ids),
            tuple(row[:count] for row in self.shown),
            tuple(row[:count] for row in self.positions),
        )

    def select(self, sequences: Iterable[int]) -> TokenBatch:
        """Return some of the sequences, in this order, some of them perhaps several times."""
        indices = [*sequences]
        return TokenBatch(
            tuple(self.ids[index] for index in indices),
            tuple(self.shown[index] for index in indices),
            tuple(self.positions[index] for index in indices),
        )
