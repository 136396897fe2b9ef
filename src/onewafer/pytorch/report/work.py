"""The work of the busiest program of a run, a mean of all of it: a step, a pass or a token.

In: the records of a run. Out: what it takes here, what limits it, the fastest rectangle for it, and
what it takes on other systems.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onewafer.errors import ConfigurationError
from onewafer.execution import Phase
from onewafer.execution.report import (
    energy_of,
    find_fastest,
    find_limit,
    report_step,
)
from onewafer.graph import num_samples
from onewafer.mesh import largest_rectangle
from onewafer.perf import Decode, Forward, Prefill, Train
from onewafer.pytorch.report.elsewhere import USUAL, usual_systems, work_elsewhere
from onewafer.pytorch.report.values import OnSystem, Work
from onewafer.units import count_of, to_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onewafer.errors import UnsupportedOperationError
    from onewafer.execution import PhaseRecord, ProgramRecord
    from onewafer.execution.report import ProgramReport
    from onewafer.perf import Job

    Refuse = Callable[[Exception], UnsupportedOperationError]


def report_work(
    records: Sequence[ProgramRecord],
    programs: Sequence[ProgramReport],
    *,
    refuse: Refuse | None,
    against: Sequence[str],
) -> Work | None:
    """Return the work of the busiest program; None: nothing ran on the wafer.

    `against` are systems that it is compared with: ConfigurationError if they have nothing to do.
    With `refuse`, which gets errors of our own, the fastest rectangle is looked for, and one H100
    is priced where no system is named.
    """
    counted = [number for number, record in enumerate(records) if _has_work(record)]
    number = max(counted, key=lambda one: programs[one].cycles, default=None)
    if number is None or not programs[number].cycles:
        if against:
            raise ConfigurationError(
                f"nothing ran on the wafer, so there is no step or pass to compare with "
                f"{', '.join(against)}: the report says why the host ran the modules"
            )
        return None
    record, program = records[number], programs[number]
    task = _task_of(record)
    seconds = to_seconds(task.cycles, clock_hertz=record.clock_hertz)
    width, height = largest_rectangle(record.architecture)
    work = Work(
        program=number,
        what=task.what,
        rows=task.rows,
        seconds=seconds,
        rows_per_second=task.rows / seconds,
        energy=energy_of(record, task.cycles),
        limit=find_limit([phase for phase in program.phases if phase.phase in task.phases]),
        num_pes=width * height,
    )
    if against:
        work = replace(work, elsewhere=_elsewhere(record, task, against))
    return work if refuse is None else _look_further(work, record, task, refuse)


def _elsewhere(record: ProgramRecord, task: _Task, systems: Sequence[str]) -> tuple[OnSystem, ...]:
    is_served = not isinstance(task.job, Prefill) or task.phases == (Phase.PREFILL,)
    return work_elsewhere(record, task.job, task.rows, systems, is_served=is_served)


def _look_further(work: Work, record: ProgramRecord, task: _Task, refuse: Refuse) -> Work:
    """Return the work with the fastest rectangle and one H100; an error in them costs no report."""
    try:
        fastest = find_fastest(record, [record.phases[phase] for phase in task.phases])
        if not work.elsewhere:
            found = _elsewhere(record, task, usual_systems())
            work = replace(work, elsewhere=found)
        return replace(work, fastest=fastest)
    except Exception as error:  # noqa: BLE001  # of ours, after a run that may have taken hours
        reason = error if isinstance(error, ConfigurationError) else refuse(error)
        found = OnSystem(system=USUAL, title="", refusal=str(reason))
        return replace(work, elsewhere=work.elsewhere or (found,))


@dataclass(frozen=True, slots=True)
class _Task:
    """A piece of work of a program, a mean of all of them."""

    job: Job
    what: str
    """In words: `a training step of 64 samples`."""
    rows: float
    """Samples or tokens of it."""
    cycles: float
    phases: tuple[Phase, ...]


def _has_work(record: ProgramRecord) -> bool:
    """Tell whether a program has had calls: forward passes that are made again are none."""
    return report_step(record) is not None or bool(_counted_calls(record))


def _counted_calls(record: ProgramRecord) -> dict[Phase, PhaseRecord]:
    return {p: done for p, done in record.phases.items() if done.calls and not p.goes_on}


def _task_of(record: ProgramRecord) -> _Task:
    """Return the work that a program spent most cycles on: a step, if it was trained."""
    if report_step(record) is not None:
        return _training_step(record)
    calls = _counted_calls(record)
    phase = max(calls, key=lambda one: record.activity_of(calls[one]).cycles)
    done = calls[phase]
    cycles = record.activity_of(done).cycles / done.calls
    rows = done.rows / done.calls
    is_whole = phase in (Phase.BATCH, Phase.FORWARD)
    if is_whole and not record.program.graph.is_sequence:
        batch = _up(rows)
        what = f"a pass over {count_of(batch, 'sample')}"
        return _Task(Forward(batch=batch), what, rows, cycles, (phase,))
    batch, context = _sequences(done)
    if phase is Phase.DECODE:
        sequences = count_of(batch, "sequence")
        what = f"a new token of {sequences}, {context:,} tokens long on average"
        return _Task(Decode(batch=batch, context=context), what, rows, cycles, (phase,))
    if is_whole:  # each in a launch of its own, or in several
        batch = _up(done.launches.total() / done.calls / record.program.tiles)
    tokens = _up(rows / batch)
    what = f"a pass over {count_of(batch, 'sequence')} of {count_of(tokens, 'token')}"
    return _Task(Prefill(batch=batch, tokens=tokens), what, rows, cycles, (phase,))


def _training_step(record: ProgramRecord) -> _Task:
    step, graph = report_step(record), record.program.graph
    assert step is not None, "the caller has seen to it"  # invariant
    if graph.is_sequence:
        sequence = record.bucket * record.program.tiles
        batch = _up(step.samples / sequence)
        what = f"a training step of {count_of(batch, 'sequence')} of {sequence:,} tokens"
    else:
        sequence = graph.inputs[0].shape[0] // num_samples(graph)
        batch = _up(step.samples)
        what = f"a training step of {count_of(batch, 'sample')}"
    job = Train(tokens=step.steps * batch * sequence, sequence=sequence, batch=batch)
    phases = tuple(phase for phase in record.phases if phase.trains)
    return _Task(job, what, step.samples, step.cycles, phases)


def _sequences(done: PhaseRecord) -> tuple[int, int]:
    """Return the sequences of a launch, and the tokens that each has after it, both in the mean."""
    slots = [
        (slot.position + slot.rows, count, len(launch.slots))
        for launch, count in done.launches.items()
        if launch is not None
        for slot in launch.slots
    ]
    if not slots:
        return 1, _up(done.rows / done.calls)
    launches = sum(count / together for _, count, together in slots)
    total = sum(count for _, count, _ in slots)
    return _up(total / launches), _up(sum(end * count for end, count, _ in slots) / total)


def _up(mean: float) -> int:
    """Return a whole number that is no smaller, at least 1."""
    return max(1, -int(-mean // 1))
