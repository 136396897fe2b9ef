"""Findings: errors, and legal behaviour that is rarely intended.

Engines count them as they happen; the caller of the machine reports them at the end.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


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


class FindingKind(IntEnum):
    """A kind of behaviour that is legal and rarely intended."""

    BUSY_MICROTHREAD = 0
    """An operation was issued on a busy microthread, and waited there (M38)."""
    MERGED_ACTIVATION = 1
    """A task was activated that was active already, and runs once for both (M61)."""
    CONTROL_AS_DATA = 2
    """An operation took the word of a control wavelet as an element (M95)."""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """How often an instruction led to a finding, on all PEs together."""

    kind: FindingKind
    program: int
    """Number of the tile program."""
    pc: int
    num_times: int
    first_cycle: int
    """The cycle in which it happened first."""
    first_pe: int
    """The first PE of that cycle, row by row: y · width + x."""


def joined(findings: Iterable[Finding]) -> list[Finding]:
    """Return one finding for each kind, program and place, in this order."""
    found: dict[tuple[FindingKind, int, int], Finding] = {}
    for finding in findings:
        key = finding.kind, finding.program, finding.pc
        known = found.get(key, replace(finding, num_times=0))
        first = min(known, finding, key=lambda one: (one.first_cycle, one.first_pe))
        found[key] = replace(first, num_times=known.num_times + finding.num_times)
    return [found[key] for key in sorted(found)]
