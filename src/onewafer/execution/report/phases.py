"""The cost of a token or a sample in each phase, and the parts of the layers that cause it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.execution.records import Phase
from onewafer.execution.report.simulation import count_origins
from onewafer.execution.report.values import PartReport, PhaseReport
from onewafer.graph import LayerPart
from onewafer.mesh import Estimator, split_estimate
from onewafer.units import to_seconds

if TYPE_CHECKING:
    from collections import Counter

    from onewafer.execution.activity import Activity
    from onewafer.execution.records import PhaseRecord, ProgramRecord
    from onewafer.mesh import Launch, Purpose

_MOST_ESTIMATES = 16
"""Limit of the launches of a phase whose closed form is computed, evenly spaced if more."""
_ORDER = (*LayerPart, None)


def report_phases(record: ProgramRecord) -> tuple[PhaseReport, ...]:
    """Return the phases of a program, prefill before decode."""
    estimator = Estimator(record.program, record.architecture)
    return tuple(
        _report_phase(record, phase, done, estimator)
        for phase in Phase
        if (done := record.phases.get(phase)) is not None
    )


def _report_phase(
    record: ProgramRecord, phase: Phase, done: PhaseRecord, estimator: Estimator
) -> PhaseReport:
    activity, clock_hertz = record.activity_of(done), record.clock_hertz
    expected = _expect(record, done.launches, estimator)
    rows = max(1, done.rows)  # all launches of a phase may be of calls that other programs count
    per_row = activity.cycles / rows
    return PhaseReport(
        phase=phase,
        calls=done.calls,
        launches=done.launches.total(),
        rows=done.rows,
        again=done.again,
        cycles=activity.cycles,
        cycles_per_row=per_row,
        seconds_per_row=to_seconds(per_row, clock_hertz=clock_hertz),
        rows_per_second=clock_hertz / per_row,
        expected_cycles_per_row=sum(expected.values()) / rows,
        origins=count_origins(done.origins) if record.times else None,
        busy_pe_fraction=busy_pes(record, activity),
        busy_link_fraction=busy_links(record, activity),
        parts=_report_parts(activity.of_all_cycles(), expected, rows),
    )


def _expect(
    record: ProgramRecord, launches: Counter[Launch | None], estimator: Estimator
) -> dict[Purpose, float]:
    """Return the cycles of all launches in closed form, by purpose."""
    known = sorted(launches, key=_place)
    step = max(1, len(known) / _MOST_ESTIMATES)
    looked_at = [known[int(index * step)] for index in range(min(len(known), _MOST_ESTIMATES))]
    total: dict[Purpose, float] = {}
    for launch in looked_at:
        entry = launch.entry if launch else None
        cycles = split_estimate(record.program, estimator.estimate(launch), entry)
        for purpose, count in cycles.items():
            total[purpose] = total.get(purpose, 0.0) + count * launches[launch]
    share = launches.total() / sum(launches[launch] for launch in looked_at)
    return {purpose: cycles * share for purpose, cycles in total.items()}


def _place(launch: Launch | None) -> tuple[tuple[int, int], ...]:
    """Return the sort key of launches: the first positions and rows of their slots."""
    return tuple((slot.position, slot.rows) for slot in launch.slots) if launch else ()


def _report_parts(
    activity: Activity, expected: dict[Purpose, float], rows: int
) -> tuple[PartReport, ...]:
    purposes = sorted(expected, key=lambda p: (_ORDER.index(p.part), p.is_collective))
    parts: list[PartReport] = []
    for purpose in purposes:
        spent = activity.spent.get(purpose)
        parts.append(
            PartReport(
                purpose.part,
                purpose.is_collective,
                cycles_per_row=(spent.cycles if spent else 0.0) / rows if activity.spent else None,
                busy_fraction=min(1.0, spent.busy_cycles / spent.cycles) if spent else None,
                expected_cycles_per_row=expected[purpose] / rows,
            )
        )
    return tuple(parts)


def busy_pes(record: ProgramRecord, activity: Activity) -> float | None:
    """Return the share of all PEs' cycles in which they worked; None: nothing was simulated."""
    program = record.program
    pe_cycles = activity.observed_cycles * program.width * program.height
    return ratio(activity.busy_pe_cycles, pe_cycles)


def busy_links(record: ProgramRecord, activity: Activity) -> float | None:
    """Return the share of all links' cycles in which they carry; None: nothing was simulated."""
    if not activity.observed_cycles:
        return None
    num_links = _count_links(record.program.width, record.program.height)
    return ratio(activity.link_wavelets, activity.observed_cycles * num_links)


def _count_links(width: int, height: int) -> int:
    """Return the number of links between neighbours, each direction counted."""
    return 2 * ((width - 1) * height + width * (height - 1))


def ratio(part: float, whole: float) -> float | None:
    """Return a quotient; None: the divisor is 0."""
    return part / whole if whole else None
