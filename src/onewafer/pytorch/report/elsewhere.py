"""A piece of work of a run on other systems, by the equations of `onewafer compare`.

In: the record of the program that did it, and the job that it is. Out: what it takes there. Unknown
here: how GPUs work.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onewafer.arch import find_cluster
from onewafer.graph import (
    BatchMean,
    BatchVariance,
    PositionEmbedding,
    fold,
    with_samples,
)
from onewafer.mesh import FORWARD
from onewafer.perf import (
    CompareOptions,
    Model,
    Refusal,
    Train,
    has_measured_kernels,
    repeat_on,
)
from onewafer.perf.gpu import GpuOptions
from onewafer.pytorch.report.values import OnSystem

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from onewafer.execution import ProgramRecord
    from onewafer.graph import Graph, Operation
    from onewafer.perf import Job

USUAL = "h100x1"
"""The system that runs are compared with unasked."""
_ALL_TRAINED = "every weight is trained there, also those that are frozen here"
_LEFT_OUT = (
    "what Python and the start of kernels take, which small models wait for on GPUs, is left out"
)
_FILLED_UP = "the batch is filled up to {}, which the devices share evenly"


def usual_systems() -> tuple[str, ...]:
    """Return the usual system, if measurements of it are installed."""
    return (USUAL,) if has_measured_kernels() else ()


def work_elsewhere(
    record: ProgramRecord, job: Job, rows: float, systems: Sequence[str], *, is_served: bool
) -> tuple[OnSystem, ...]:
    """Return what a job of so many rows takes on each system.

    If it `is_served`, GPUs do it under a serving engine, which takes time of its own.
    """
    if not systems:
        return ()
    model, options = model_of(record), CompareOptions(gpu=GpuOptions(is_served=is_served))
    return tuple(
        _on_system(record, model, job, rows, system=system, options=options) for system in systems
    )


def _on_system(
    record: ProgramRecord,
    model: Model,
    job: Job,
    rows: float,
    *,
    system: str,
    options: CompareOptions,
) -> OnSystem:
    found = repeat_on(model, job, system, options)
    answer = found.answer
    if isinstance(answer, Refusal):
        return OnSystem(system=system, title=answer.title, refusal=answer.reason)
    seconds, is_training = answer.breakdown.seconds, isinstance(job, Train)
    notes = [*answer.notes]
    if found.batch != getattr(job, "batch", found.batch):
        notes.insert(0, _FILLED_UP.format(f"{found.batch:,}"))
    if is_training and _has_frozen(record, model):
        notes.append(_ALL_TRAINED)
    is_bare = find_cluster(system) is not None and (is_training or not options.gpu.is_served)
    error = found.error if is_training or not is_bare else None  # published ones have an engine
    is_compared = error is not None and error.covers(model)
    if is_bare and (not is_compared or model.has_feature_maps):
        notes.append(_LEFT_OUT)
    return OnSystem(
        system=system,
        title=answer.title,
        precision=answer.precision,
        seconds=seconds,
        rows_per_second=rows / seconds,
        joules=answer.watts * seconds,
        mapping=answer.choice.text,
        mfu=answer.mfu,
        limit=None if answer.limit is None else str(answer.limit),
        error=error,
        is_compared=is_compared,
        energy_basis=answer.energy_basis,
        notes=(*notes,),
    )


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

    Running statistics of batch norms are left out, too: elsewhere the norms make them.
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
