"""Findings: what the machine allows but is rarely intended, and errors.

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
    """So does an access outside the variable that its address is from."""
    uninitialised: bool = False
    """So does a read of memory that neither initial values, nor the host, nor the program wrote."""

    @property
    def follows_accesses(self) -> bool:
        """True if it needs an engine that looks at each access."""
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
