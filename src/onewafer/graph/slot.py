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
