"""The ledger of a session: records of its programs, and calls that ran on the host.

In: what `session` counts. Out: everything that a report is made from.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onewafer.execution import ProgramLedger
from onewafer.process.worker_calls import WorkerCounts
from onewafer.pytorch.host_work import Cause, HostLedger

if TYPE_CHECKING:
    from onewafer.errors import Refusal


@dataclass(slots=True)
class Ledger(ProgramLedger):
    """Everything a report is made from."""

    host: HostLedger = field(default_factory=HostLedger)
    workers: WorkerCounts = field(default_factory=WorkerCounts)
    """Calls in worker processes of the script, which no other count has."""
    part_calls: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    """(class of a part, class of the refused module it is of) → calls on the wafer.

    The records of programs count these calls, too.
    """
    notes: dict[str, None] = field(default_factory=dict[str, None])
    """Sentences about the values of the run, each of which the report says once."""

    @property
    def gradient_calls(self) -> Counter[str]:
        """Module class → calls that needed gradients."""
        found = Counter[str]()
        for task, work in self.host.of(Cause.GRADIENT):
            found[task.module] += work.calls
        return found

    @property
    def fallbacks(self) -> Counter[tuple[str, Refusal]]:
        """(module class, why) → calls that the wafer could not do."""
        found = Counter["tuple[str, Refusal]"]()
        for task, work in self.host.of(Cause.REFUSAL):
            if task.refusal is not None:
                found[task.module, task.refusal] += work.calls
        return found

    @property
    def num_calls(self) -> int:
        """Calls that the session has seen, wherever they ran."""
        return sum(record.calls for record in self.programs) + self.host.num_calls
