"""The work of the busiest program of a run, as other systems would do it.

In: the records of a run, names of systems. Out: what a step, a pass or a token takes there, by the
equations of `onewafer compare`. Unknown here: how GPUs work.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onewafer.arch import find_cluster
from onewafer.errors import ConfigurationError
from onewafer.execution import Phase
from onewafer.execution.report import joules_of, report_step
from onewafer.graph import (
    BatchMean,
    BatchVariance,
    PositionEmbedding,
    fold,
    num_samples,
    with_samples,
)
from onewafer.mesh import FORWARD
from onewafer.perf import (
    CompareOptions,
    Decode,
    Forward,
    Model,
    Prefill,
    Refusal,
    Train,
    repeat_on,
)
from onewafer.pytorch.report.values import Elsewhere, OnSystem
from onewafer.units import count_of, to_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from onewafer.execution import PhaseRecord, ProgramRecord
    from onewafer.graph import Graph, Operation
    from onewafer.perf import Job

_ALL_TRAINED = "every weight is trained there, also those that are frozen here"
_SMALLEST_PUBLISHED = 1.7e9
"""Weights of the smallest model in `perf/figures/gpu_training.toml`."""
_LEFT_OUT = (
    "what Python and the start of kernels take, which small models wait for on GPUs, is left out"
)
_SMALL = f"published figures are of models with 1.7 billion weights and more; {_LEFT_OUT}"
_FILLED_UP = "the batch is filled up to {}, which the devices share evenly"


@dataclass(frozen=True, slots=True)
class _Work:
    """A piece of work of a program, a mean of all of them."""

    job: Job
    what: str
    """In words: `a training step of 64 samples`."""
    rows: float
    """Samples or tokens of it."""
    cycles: float


def work_elsewhere(programs: Sequence[ProgramRecord], systems: Sequence[str]) -> Elsewhere:
    """Return what the work of the busiest program takes on each system.

    Raises ConfigurationError if nothing ran on the wafer.
    """
    busy = [record for record in programs if record.activity.cycles]
    if not busy:
        raise ConfigurationError(
            f"nothing ran on the wafer, so there is no step or pass to compare with "
            f"{', '.join(systems)}: the report says why the host ran the modules"
        )
    record = max(busy, key=lambda one: one.activity.cycles)
    model, work = model_of(record), _work_of(record)
    seconds = to_seconds(work.cycles, clock_hertz=record.clock_hertz)
    return Elsewhere(
        module=record.module,
        work=work.what,
        is_in_tokens=record.program.graph.is_sequence,
        here=OnSystem(
            system=record.architecture.name,
            title=f"{record.program.width}×{record.program.height} PEs, {record.options.fidelity}",
            precision=record.program.dtype,
            seconds=seconds,
            rows_per_second=work.rows / seconds,
            joules=joules_of(record, work.cycles),
        ),
        there=tuple(_on_system(record, model, work, system) for system in systems),
    )


def _on_system(record: ProgramRecord, model: Model, work: _Work, system: str) -> OnSystem:
    found = repeat_on(model, work.job, system, CompareOptions())
    answer = found.answer
    if isinstance(answer, Refusal):
        return OnSystem(system=system, title=answer.title, refusal=answer.reason)
    seconds, is_training = answer.breakdown.seconds, isinstance(work.job, Train)
    notes = [*answer.notes]
    if found.batch != getattr(work.job, "batch", found.batch):
        notes.insert(0, _FILLED_UP.format(f"{found.batch:,}"))
    if is_training and _has_frozen(record, model):
        notes.append(_ALL_TRAINED)
    if is_training and model.num_weights < _SMALLEST_PUBLISHED and find_cluster(system):
        notes.append(_LEFT_OUT if model.has_feature_maps else _SMALL)
    return OnSystem(
        system=system,
        title=answer.title,
        precision=answer.precision,
        seconds=seconds,
        rows_per_second=work.rows / seconds,
        joules=answer.watts * seconds,
        mapping=answer.choice.text,
        mfu=answer.mfu,
        limit=None if answer.limit is None else str(answer.limit),
        error=found.error,
        energy_basis=answer.energy_basis,
        notes=(*notes,),
    )


# --- the work ------------------------------------------------------------------------------------


def _work_of(record: ProgramRecord) -> _Work:
    """Return the work that a program spent most cycles on: a step, if it was trained."""
    if report_step(record) is not None:
        return _training_step(record)
    calls = {phase: done for phase, done in record.phases.items() if not phase.goes_on}
    phase = max(calls, key=lambda one: record.activity_of(calls[one]).cycles)
    done = calls[phase]
    cycles = record.activity_of(done).cycles / done.calls
    rows = done.rows / done.calls
    is_whole = phase in (Phase.BATCH, Phase.FORWARD)
    if is_whole and not record.program.graph.is_sequence:
        batch = _up(rows)
        what = f"a pass over {count_of(batch, 'sample')}"
        return _Work(Forward(batch=batch), what, rows, cycles)
    batch, context = _sequences(done)
    if phase is Phase.DECODE:
        sequences = count_of(batch, "sequence")
        what = f"the next token of {sequences}, {context:,} tokens long in the mean"
        return _Work(Decode(batch=batch, context=context), what, rows, cycles)
    if is_whole:  # each in a launch of its own, or in several
        batch = _up(done.launches.total() / done.calls / record.program.tiles)
    tokens = _up(rows / batch)
    what = f"a pass over {count_of(batch, 'sequence')} of {count_of(tokens, 'token')}"
    return _Work(Prefill(batch=batch, tokens=tokens), what, rows, cycles)


def _training_step(record: ProgramRecord) -> _Work:
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
    return _Work(job, what, step.samples, step.cycles)


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


# --- the model -----------------------------------------------------------------------------------


def model_of(record: ProgramRecord) -> Model:
    """Return the model of a program, as the equations see it: without its loss, for one sample."""
    program = record.program
    end = program.training.entries[FORWARD] if program.training else None
    graph = _without_losses(program.graph, program.graph.operations[:end])
    if not graph.is_sequence:
        graph = with_samples(graph, 1)
    learned = {op.table for op in graph.operations if isinstance(op, PositionEmbedding)}
    tables = {name for op in graph.operations for name in op.position_tables}
    return Model(
        name=record.module,
        title=record.module,
        segments=fold(graph, constants=tables - learned),
        source="the script",
        fixed_tokens=None if graph.is_sequence else graph.inputs[0].shape[0],
    )


def _without_losses(graph: Graph, operations: Iterable[Operation]) -> Graph:
    """Return a graph of some operations, without those that a loss of all rows is made of.

    Statistics that norms over a batch give the script are made by the norms elsewhere.
    """
    dropped: set[str] = set()
    kept: list[Operation] = []
    for operation in operations:
        is_loss = operation.joins_rows and operation.result.shape == (1, 1)
        is_statistic = isinstance(operation, BatchMean | BatchVariance)
        if is_loss or is_statistic or not dropped.isdisjoint(operation.activation_operands):
            dropped.add(operation.result.name)
        else:
            kept.append(operation)
    read = {name for op in kept for name in (*op.activation_operands, *op.parameter_operands)}
    return replace(
        graph,
        inputs=tuple(tensor for tensor in graph.inputs if tensor.name in read),
        parameters=tuple(tensor for tensor in graph.parameters if tensor.name in read),
        operations=(*kept,),
        outputs=tuple(op.result.name for op in kept if op.result.name not in read),
    )


def _has_frozen(record: ProgramRecord, model: Model) -> bool:
    """Tell whether a weight of the model gets no gradient."""
    training = record.program.training
    trained = [] if training is None else [*training.outputs.values()]
    return any(
        tensor.name not in trained and tensor.name not in segment.constants
        for segment in model.segments
        for tensor in segment.weights
    )
