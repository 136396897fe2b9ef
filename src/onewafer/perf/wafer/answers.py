"""Outcomes of a job in each mode, and the `Answer` that is made of the best one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onewafer.graph import Attention
from onewafer.mesh import largest_rectangle
from onewafer.perf.answer import Answer, Choice, Memory
from onewafer.perf.jobs import Precision
from onewafer.perf.wafer.feature_map_blocks import WHOLE
from onewafer.perf.wafer.options import Mode
from onewafer.units import format_rate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from onewafer.graph import Graph
    from onewafer.perf.breakdown import Breakdown
    from onewafer.perf.jobs import Job
    from onewafer.perf.wafer.measured import Bytes
    from onewafer.perf.wafer.options import WaferOptions
    from onewafer.perf.wafer.plan import Plan
    from onewafer.perf.wafer.region import Regions
    from onewafer.perf.wafer.streaming import Streamed
    from onewafer.perf.wafer.system import Machine
    from onewafer.perf.wafer.workload import Load


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One way to do a job on wafers: layout in words, times, memory."""

    mode: Mode
    text: str
    breakdown: Breakdown
    """The breakdown of the job's answer; see `Answer`."""
    tokens: float
    """Tokens that the whole system produces in each `period`."""
    period: float
    """Seconds in which the system produces `tokens`."""
    memory: Memory
    busy_fraction: float
    """Mean share of all wafers' PEs that are busy, 0 to 1."""
    num_considered: int
    load: Load
    """Load of a launch."""
    ttft_seconds: float | None = None
    tpot_seconds: float | None = None
    mfu: float | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def tokens_per_second(self) -> float:
        """Rate of the whole system."""
        return self.tokens / self.period


@dataclass(frozen=True, slots=True)
class Others:
    """The outcomes that are not the best one, and the modes that were not searched."""

    outcomes: tuple[Outcome, ...]
    too_slow: Mapping[Mode, float]
    """Upper bounds, in tokens per second, of modes that were dropped because of them."""


def answer(
    job: Job,
    machine: Machine,
    options: WaferOptions,
    best: Outcome,
    *,
    others: Others,
    sample_rows: int | None = None,
) -> Answer:
    """Return the answer of the best outcome.

    `sample_rows` is the number of rows of a sample; None: the model works on tokens.
    """
    watts = _watts(machine, best.busy_fraction)
    return Answer(
        system=machine.wafers.name,
        title=machine.title,
        job=job,
        precision=options.precision,
        choice=_choice(best, others, options, sample_rows),
        breakdown=best.breakdown,
        memory=best.memory,
        num_devices=machine.num_wafers,
        watts=watts,
        energy_basis=_energy_basis(machine, best.busy_fraction),
        ttft_seconds=best.ttft_seconds,
        tpot_seconds=best.tpot_seconds,
        tokens_per_second=best.tokens_per_second,
        joules_per_token=watts / best.tokens_per_second,
        mfu=best.mfu,
        notes=(*_notes(machine, options), *best.notes),
    )


def plan_memory(
    plan: Plan, machine: Machine, *, replicas: int, longest_context: int | None
) -> Memory:
    """Return the bytes in use on all PEs of all regions, and the memory of the wafers in use."""
    return _memory(
        ((replicas * stage.cost.num_pes, stage.cost.bytes) for stage in plan.stages),
        machine,
        num_wafers=replicas * plan.num_wafers,
        longest_context=longest_context,
    )


def streamed_memory(streamed: Streamed, machine: Machine) -> Memory:
    """Return the bytes in use on all PEs of all wafers, under weight streaming."""
    width, height = streamed.rectangle
    count = machine.num_wafers
    return _memory(
        [(width * height * count, streamed.bytes)], machine, num_wafers=count, longest_context=None
    )


def describe(plan: Plan, regions: Regions) -> str:
    """Return a plan in a few words."""
    wafers = f" on {plan.num_wafers} wafers" if plan.num_wafers > 1 else ""
    kinds = Counter((s.cost.work, s.cost.rectangle, s.cost.grid) for s in plan.stages)
    work, (width, height), grid = max(
        kinds, key=lambda kind: kinds[kind] * max(count for _, count in kind[0])
    )
    blocks = "" if grid == WHOLE else f", feature maps in {grid[0]}×{grid[1]} blocks"
    if plan.mode is Mode.WHOLE:
        return f"{width}×{height} PEs a wafer, layer after layer{blocks}{wafers}"
    layers = sum(count * _num_layers(regions.graphs[index]) for index, count in work)
    group = "a layer" if layers == 1 else f"{layers} layers"
    if len(plan.stages) == 1:
        return f"one region, {group} on {width}×{height} PEs{blocks}"
    return (
        f"pipeline over {len(plan.stages)} regions, {group} each on {width}×{height} PEs{blocks}"
        f"{wafers}"
    )


def _num_layers(graph: Graph) -> int:
    """Return the layers of a piece, which is 2 where a model alternates two kinds of layers."""
    return max(1, sum(isinstance(operation, Attention) for operation in graph.operations))


def _memory(
    parts: Iterable[tuple[int, Bytes]],
    machine: Machine,
    *,
    num_wafers: int,
    longest_context: int | None,
) -> Memory:
    parts = tuple(parts)
    width, height = largest_rectangle(machine.architecture)
    return Memory(
        weight_bytes=round(sum(num_pes * one.weights for num_pes, one in parts)),
        cache_bytes=sum(num_pes * one.cache for num_pes, one in parts),
        other_bytes=sum(num_pes * one.other for num_pes, one in parts),
        available_bytes=num_wafers * width * height * machine.architecture.memory_bytes,
        longest_context=longest_context,
    )


def _choice(
    best: Outcome, others: Others, options: WaferOptions, sample_rows: int | None
) -> Choice:
    is_pinned = options.mode is not None or options.region is not None
    what = "tokens" if sample_rows is None else "samples"
    reached = [(one.mode, "", one.tokens_per_second) for one in others.outcomes]
    reached += [(mode, "at most ", rate) for mode, rate in others.too_slow.items()]
    reasons = [
        f"{mode} would reach {at_most}{format_rate(rate / (sample_rows or 1))} {what}/s"
        for mode, at_most, rate in reached
    ]
    why = "it is as asked for" if is_pinned else "it is the fastest that fits"
    return Choice(
        text=best.text,
        reason="; ".join([why, *reasons]),
        num_considered=sum(one.num_considered for one in (best, *others.outcomes)),
        is_pinned=is_pinned,
    )


def _watts(machine: Machine, busy: float) -> float:
    system = machine.system
    each = system.idle_watts + busy * (system.busy_watts - system.idle_watts)
    return machine.num_wafers * each


def _energy_basis(machine: Machine, busy: float) -> str:
    system = machine.system
    return (
        f"{system.title} with cooling: {system.idle_watts / 1e3:g} kW idle (25PT, on a CS-2) to "
        f"{system.busy_watts / 1e3:g} kW busy; {busy:.0%} of the PEs are busy"
    )


def _notes(machine: Machine, options: WaferOptions) -> tuple[str, ...]:
    notes = [machine.clock_note]
    if options.variant:
        notes.append(
            f"the wafer is one with {options.variant.replace(',', ', ')}; its power is taken as "
            "proportional to its PEs"
        )
    if options.precision is Precision.BF16:
        notes.append("bf16 costs what fp16 costs: both are 16 bits wide")
    if options.density < 1:
        notes.append(
            f"of the weights {options.density:.0%} are multiplied and stored; no kernel does that "
            "yet, and where they are is not stored"
        )
    return tuple(notes)
