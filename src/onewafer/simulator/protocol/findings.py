"""Findings: errors, and legal behaviour that is rarely intended.

Engines count them as they happen; the caller of the machine reports them at the end.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Checking:
    """Findings that are errors although the machine allows them."""

    is_strict: bool = False
    """A DSD operation that is issued on a busy microthread stops the simulation (M38)."""
    bounds: bool = False
    """An access outside the variable of its address stops the simulation."""
    uninitialised: bool = False
    """A read of memory that initial values, host and program did not write stops it."""

    @property
    def follows_accesses(self) -> bool:
        """True if the checks need an engine that follows each memory access."""
        return self.bounds or self.uninitialised


NO_CHECKING = Checking()


@dataclass(frozen=True, slots=True)
class BusyIssue:
    """How often an operation was issued on a busy microthread, and waited there (M38)."""

    program: int
    """Number of the tile program."""
    pc: int
    num_times: int
    """On all PEs together."""
    first_pe: int
    """The first PE, row by row, on which it happened."""
