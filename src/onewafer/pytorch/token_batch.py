"""Tokens of several sequences as scripts give them: in columns, some of which are padding."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Sequences of equally many columns, of which an attention mask hides some."""

    ids: tuple[tuple[int, ...], ...]
    """The token in each column, for each sequence."""
    shown: tuple[tuple[bool, ...], ...]
    """Whether it is one of the sequence; else it is padding."""

    @classmethod
    def without_padding(cls, ids: Iterable[Iterable[int]]) -> TokenBatch:
        """Return sequences of equal length.

        >>> TokenBatch.without_padding([[5, 3]]).num_columns
        2
        """
        rows = tuple(tuple(row) for row in ids)
        return cls(rows, tuple((True,) * len(row) for row in rows))

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
        """Whether anything is hidden."""
        return not all(map(all, self.shown))

    def tokens(self, sequence: int) -> tuple[int, ...]:
        """Return the tokens of a sequence, without padding."""
        pairs = zip(self.ids[sequence], self.shown[sequence], strict=True)
        return tuple(token for token, is_shown in pairs if is_shown)

    def positions(self, sequence: int) -> tuple[int, ...]:
        """Return how many tokens of a sequence are before each column.

        >>> TokenBatch(((0, 5, 3),), ((False, True, True),)).positions(0)
        (0, 0, 1)
        """
        found: list[int] = []
        count = 0
        for is_shown in self.shown[sequence]:
            found.append(count)
            count += is_shown
        return tuple(found)

    def first_columns(self, count: int) -> TokenBatch:
        """Return the same sequences cut to their first columns."""
        return replace(
            self,
            ids=tuple(row[:count] for row in self.ids),
            shown=tuple(row[:count] for row in self.shown),
        )

    def select(self, sequences: Iterable[int]) -> TokenBatch:
        """Return some of the sequences, in this order, some of them perhaps several times."""
        indices = [*sequences]
        return replace(
            self,
            ids=tuple(self.ids[index] for index in indices),
            shown=tuple(self.shown[index] for index in indices),
        )
