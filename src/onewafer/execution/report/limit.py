"""Shares of the cycles of some phases: arithmetic, messages between PEs, starts and ends."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from onewafer.execution.report.values import LimitReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.execution.report.values import PartReport, PhaseReport


def find_limit(phases: Sequence[PhaseReport]) -> LimitReport:
    """Return the shares of the cycles of phases: measured, or in closed form if one was not.

    Waiting counts for the purpose in which a PE waits.
    """
    total = sum(phase.cycles for phase in phases)
    busy = sum(phase.cycles * (phase.busy_pe_fraction or 0.0) for phase in phases)
    is_measured = all(phase.busy_pe_fraction is not None for phase in phases)
    arithmetic: dict[str, float] = defaultdict(float)
    messages = control = 0.0
    for phase in phases:
        cycles = [_cycles(part, is_measured=is_measured) for part in phase.parts]
        for part, count in zip(phase.parts, cycles, strict=True):
            share = phase.cycles * count / sum(cycles) / total
            if part.part is None:
                control += share
            elif part.is_collective:
                messages += share
            else:
                arithmetic[part.part] += share
    return LimitReport(
        arithmetic=sum(arithmetic.values()),
        messages=messages,
        control=control,
        part=max(arithmetic, key=arithmetic.__getitem__, default=None),
        busy=busy / total if is_measured else None,
    )


def _cycles(part: PartReport, *, is_measured: bool) -> float:
    return part.cycles_per_row or 0.0 if is_measured else part.expected_cycles_per_row
