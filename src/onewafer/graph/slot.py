"""The rows of a launch by the sequences that they are tokens of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Slot:
    """Rows of a launch that are consecutive tokens of one sequence."""

    sequence: int
    """Which one of those that the program keeps keys and values of, from 0 on."""
    position: int
    """The position of the first row."""
    rows: int
    """Valid rows."""
    table_row: int | None = None
    """The row of tables of positions that the first row takes, the others those behind it; None:
    that of its position. It is another one where a script counts padding, which is not there."""

    @property
    def first_table_row(self) -> int:
        """The row of tables of positions that the first row takes."""
        return self.position if self.table_row is None else self.table_row

    def part(self, first: int, rows: int) -> Slot:
        """Return some of its rows."""
        table_row = None if self.table_row is None else self.table_row + first
        return Slot(self.sequence, self.position + first, rows, table_row)
