"""Slots: the rows of a launch by sequence."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Slot:
    """Rows of a launch that are consecutive tokens of one sequence."""

    sequence: int
    """The number of the sequence among those that the program caches, from 0 on."""
    position: int
    """The position of the first row."""
    rows: int
    """The number of valid rows."""
    table_row: int | None = None
    """The row of position tables for the first row, followed by those of the others; by default its
    position. They differ if a script counts padding tokens, which a launch leaves out."""

    @property
    def first_table_row(self) -> int:
        """The row of position tables for the first row."""
        return self.position if self.table_row is None else self.table_row

    def part(self, first: int, rows: int) -> Slot:
        """Return a slot of some of its rows."""
        table_row = None if self.table_row is None else self.table_row + first
        return Slot(self.sequence, self.position + first, rows, table_row)
