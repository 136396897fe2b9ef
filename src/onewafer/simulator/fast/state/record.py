"""Records: where each field of a row lies, and what becomes of it in a snapshot.

A record is written down field by field, in the order of its columns. All that is known of a field
stands in its line, and is derived elsewhere: its place, the cycles that an epoch moves
(`epoch`), and the columns of snapshots (`columns`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import Enum, auto


class Holds(Enum):
    """The contents of a field. Cycles are relative to `clock[BASE]`, and absolute in snapshots."""

    NUMBER = auto()
    WORD = auto()
    """32 bits: signed here, unsigned in snapshots."""
    CYCLE = auto()
    START = auto()
    """A cycle; in snapshots `NONE` stands for `NEVER`."""
    END = auto()
    """A cycle; in snapshots `NEVER` stands for `FAR`."""
    LAST_TIME = auto()
    """A cycle; in snapshots `NONE` stands for `NOT_YET`."""

    @property
    def is_cycle(self) -> bool:
        """True if it moves with the base."""
        return self not in (Holds.NUMBER, Holds.WORD)


@dataclass(frozen=True, slots=True)
class Field:
    """One column of a record."""

    place: int
    holds: Holds
    keeps: str
    """Its column in a table of snapshots; empty: none."""


@dataclass(slots=True)
class Record:
    """The columns of a row, as far as they are written down."""

    columns: list[Field] = dataclasses.field(default_factory=list[Field])

    @property
    def size(self) -> int:
        """Number of columns."""
        return len(self.columns)

    @property
    def cycles(self) -> tuple[int, ...]:
        """Places of the columns that hold cycles."""
        return tuple(column.place for column in self.columns if column.holds.is_cycle)

    @property
    def kept(self) -> tuple[Field, ...]:
        """The columns that snapshots have too."""
        return tuple(column for column in self.columns if column.keeps)

    def field(self, width: int = 1, *, holds: Holds = Holds.NUMBER, keeps: str = "") -> int:
        """Return the place of one more field, the first of `width` columns.

        Several columns are kept as `keeps0`, `keeps1` and so on.
        """
        first = self.size
        for i in range(width):
            name = f"{keeps}{i}" if keeps and width > 1 else keeps
            self.columns.append(Field(first + i, holds, name))
        return first

    def padded(self, multiple: int) -> int:
        """Return the number of columns, rounded up."""
        return -(-self.size // multiple) * multiple
