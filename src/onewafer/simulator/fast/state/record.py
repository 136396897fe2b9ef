"""Records: the place of each field in a row, and its form in a snapshot.

A record is declared field by field, in the order of its columns. The line of a field is its only
declaration, from which the rest is derived: its place, whether an epoch shifts it (`epoch`), and
the columns of snapshots (`columns`).
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
        """True if the field is a cycle, relative to the base."""
        return self not in (Holds.NUMBER, Holds.WORD)


@dataclass(frozen=True, slots=True)
class Field:
    """One column of a record."""

    place: int
    holds: Holds
    keeps: str
    """The field's column in a table of snapshots; empty: none."""


@dataclass(slots=True)
class Record:
    """The columns of a row, in their order of declaration."""

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
        """Declare a field of `width` columns; return its first column.

        In snapshots, several columns are named `keeps0`, `keeps1` and so on.
        """
        first = self.size
        for i in range(width):
            name = f"{keeps}{i}" if keeps and width > 1 else keeps
            self.columns.append(Field(first + i, holds, name))
        return first

    def padded(self, multiple: int) -> int:
        """Return the number of columns, rounded up."""
        return -(-self.size // multiple) * multiple
