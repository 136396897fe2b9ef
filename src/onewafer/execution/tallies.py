"""Differences of a program's counters, to be counted again when the same work is repeated.

In: the counters of a program at two moments. Out: their differences, which are compared, and added
as often as the work is repeated.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onewafer.execution.records import PhaseRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.execution.records import Phase, ProgramRecord

_SENT = "parameters_sent", "parameters_resent"
_NUMBERS = ("flop", "repeated", *_SENT, "resent_bytes", "elapsed_cycles")
"""Names of the counters of a record."""


@dataclass(frozen=True, slots=True)
class Tally:
    """The counts of one program."""

    phases: Mapping[Phase, PhaseRecord] = field(default_factory=dict["Phase", PhaseRecord])
    numbers: Mapping[str, int] = field(default_factory=dict[str, int])
    """Other counters of its record."""
    entries: Counter[str] = field(default_factory=Counter[str])
    """Launches by entry."""
    bytes_in: int = 0
    bytes_out: int = 0

    @classmethod
    def of(cls, record: ProgramRecord, entries: Counter[str]) -> Tally:
        """Return the current counts."""
        phases = {phase: done.times(1) for phase, done in record.phases.items()}
        numbers = {name: getattr(record, name) for name in _NUMBERS}
        figures = record.figures
        return cls(phases, numbers, Counter(entries), figures.bytes_in, figures.bytes_out)

    def since(self, before: Tally) -> Tally:
        """Return the counts since an earlier tally."""
        phases = {
            phase: done + before.phases.get(phase, PhaseRecord()).times(-1)
            for phase, done in self.phases.items()
        }
        return Tally(
            {phase: done for phase, done in phases.items() if done != PhaseRecord()},
            {name: count - before.numbers[name] for name, count in self.numbers.items()},
            self.entries - before.entries,
            self.bytes_in - before.bytes_in,
            self.bytes_out - before.bytes_out,
        )

    @property
    def has_sent_parameters(self) -> bool:
        """True if tensors that stay on the wafer were written."""
        return any(self.numbers[name] for name in _SENT)

    def add_to(self, record: ProgramRecord, times: int) -> None:
        """Add these counts to a record `times` times; the executor counts launches and bytes."""
        for phase, done in self.phases.items():
            known = record.phases.get(phase, PhaseRecord())
            record.phases[phase] = known + done.times(times)
        for name, count in self.numbers.items():
            setattr(record, name, getattr(record, name) + count * times)
