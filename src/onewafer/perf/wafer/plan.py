"""A model laid over wafers: stages on sites, and the transfers of activations between them.

    latency of a launch   Σ stages + Σ hops between regions + Σ crossings between wafers + tokens
    period of a pipeline  the slowest stage with its hop, or the bytes of a crossing at the link

Activations go from region to region as in a broadcast: each row of PEs of a region carries its
share of the columns, and the next region spreads them. No kernel does that today, so nothing of it
has been compared with a simulation. Tokens enter and logits leave over the wafer's edge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from onewafer.graph import FLOATING
from onewafer.mesh import largest_rectangle
from onewafer.perf.breakdown import Breakdown, Item, Limit, total
from onewafer.perf.wafer.packing import num_wafers
from onewafer.perf.wafer.region import stream_cycles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onewafer.perf.wafer.options import Mode
    from onewafer.perf.wafer.packing import Site
    from onewafer.perf.wafer.region import RegionCost, Regions
    from onewafer.perf.wafer.system import Machine

LAUNCH = "launch"
HOPS = "hops between regions"
CROSSINGS = "crossings between wafers"
TOKENS = "tokens in and out"
SAMPLES = "samples in and out"
WAITING = "waiting for other stages"


@dataclass(frozen=True, slots=True)
class Stage:
    """A region with its work and its site."""

    cost: RegionCost
    site: Site


@dataclass(frozen=True, slots=True)
class Plan:
    """All stages of a model, in the order of execution."""

    mode: Mode
    stages: tuple[Stage, ...]

    @property
    def num_wafers(self) -> int:
        """Wafers that have a stage."""
        return num_wafers([stage.site for stage in self.stages])

    @property
    def num_pes(self) -> int:
        """PEs of all regions."""
        return sum(stage.cost.num_pes for stage in self.stages)


@dataclass(frozen=True, slots=True)
class Speed:
    """Latency and period of launches of one load through a plan."""

    latency_seconds: float
    """Time from a token's entry to its logits."""
    period_seconds: float
    """Time between launches while all stages are busy."""

    def steps(self, launches: int) -> float:
        """Return the seconds of one round of `launches` that repeat in a cycle."""
        return max(self.latency_seconds, launches * self.period_seconds)

    def sequence(self, launches: float) -> float:
        """Return the seconds of `launches` in a row."""
        return self.latency_seconds + (launches - 1) * self.period_seconds


@dataclass(frozen=True, slots=True)
class Pace(Speed):
    """A speed with breakdowns."""

    breakdown: Breakdown
    """Breakdown of the latency."""
    slowest: Breakdown
    """Breakdown of the period."""
    busy_pe_seconds: float
    """PE-seconds of work on one launch."""


def speed(plan: Plan, regions: Regions, machine: Machine) -> Speed:
    """Return the speed of launches of a plan: the times of `pace`, up to rounding."""
    kinds = {(one.cost.work, one.cost.rectangle, one.cost.grid) for one in plan.stages}
    seconds = {kind: machine.seconds(regions.cycles(*kind)) for kind in kinds}
    work = [seconds[one.cost.work, one.cost.rectangle, one.cost.grid] for one in plan.stages]
    moves = [
        math.fsum(item.seconds for item in _move_items(move, machine))
        for move in _moves(plan, regions)
    ]
    periods = [part + move for part, move in zip(work, [*moves, 0.0], strict=True)]
    inputs = _input_seconds(plan, regions, machine)
    ends = _token_item(plan, regions, machine, input_seconds=inputs)
    return Speed(
        latency_seconds=math.fsum([*periods, ends.seconds]),
        period_seconds=max(*periods, inputs),
    )


def pace(plan: Plan, regions: Regions, machine: Machine, *, is_unchecked: bool = False) -> Pace:
    """Return the pace of launches of a plan; `is_unchecked` if no kernel does them today.

    The load of `regions` must fit the stages.
    """
    work = [
        Breakdown((*_stage_items(stage, regions, machine, is_unchecked=is_unchecked),))
        for stage in plan.stages
    ]
    moves = [*(Breakdown((*_move_items(move, machine),)) for move in _moves(plan, regions)), None]
    inputs = _input_seconds(plan, regions, machine)
    periods = [
        part if move is None else part + move for part, move in zip(work, moves, strict=True)
    ]
    ends = _token_item(plan, regions, machine, input_seconds=inputs)
    breakdown = total(periods).merged() + Breakdown((ends,))
    slowest = max(periods, key=lambda part: part.seconds)
    if inputs > slowest.seconds:  # the edge sets the pace
        slowest = Breakdown((replace(ends, seconds=inputs),))
    return Pace(
        latency_seconds=breakdown.seconds,
        period_seconds=slowest.seconds,
        breakdown=breakdown,
        slowest=slowest,
        busy_pe_seconds=math.fsum(
            part.seconds * stage.cost.num_pes for part, stage in zip(work, plan.stages, strict=True)
        ),
    )


@dataclass(frozen=True, slots=True)
class _Move:
    """Activations that leave a stage for the next one."""

    source: Site
    target: Site
    num_bytes: int


def _moves(plan: Plan, regions: Regions) -> Iterator[_Move]:
    for first, second in pairwise(plan.stages):
        graph = regions.graphs[first.cost.work[-1][0]]
        yield _Move(first.site, second.site, graph.tensor(graph.outputs[0]).num_bytes)


def _move_items(move: _Move, machine: Machine) -> Iterator[Item]:
    """Yield the items of a transfer between regions, on a wafer or between two."""
    source, target = move.source, move.target
    if source.wafer != target.wafer:
        yield _off_wafer(CROSSINGS, move.num_bytes, machine)
        return
    timing = machine.architecture.timing
    stream = stream_cycles(move.num_bytes, (source.width, source.height), timing)
    hops = source.hops_to(target) + source.height + target.height
    travel = timing.fabric_setup_cycles + 2 * timing.ramp_cycles + hops * timing.hop_cycles
    for cycles, limit in ((travel, Limit.FABRIC_LATENCY), (stream, Limit.FABRIC_BANDWIDTH)):
        seconds = machine.seconds(cycles)
        yield Item(name=HOPS, seconds=seconds, limit=limit, is_cross_checked=False)


def _token_item(plan: Plan, regions: Regions, machine: Machine, *, input_seconds: float) -> Item:
    """Return the time for logits to leave the wafer and the next input to enter."""
    graph = regions.graphs[plan.stages[-1].cost.work[-1][0]]
    name = SAMPLES if input_seconds else TOKENS
    item = _off_wafer(name, graph.tensor(graph.outputs[0]).num_bytes, machine)
    return replace(item, seconds=item.seconds + input_seconds)


def _input_seconds(plan: Plan, regions: Regions, machine: Machine) -> float:
    """Return the time for inputs to cross the edge; ids of tokens are too few to count."""
    graph = regions.graphs[plan.stages[0].cost.work[0][0]]
    inputs = (tensor for tensor in graph.inputs if tensor.dtype in FLOATING)
    return sum(t.num_bytes for t in inputs) / machine.architecture.io_bytes_per_second


def _off_wafer(name: str, num_bytes: int, machine: Machine) -> Item:
    link = num_bytes / machine.architecture.io_bytes_per_second
    seconds = machine.system.crossing_seconds + link
    return Item(name=name, seconds=seconds, limit=Limit.OFF_WAFER, is_cross_checked=False)


def _stage_items(
    stage: Stage, regions: Regions, machine: Machine, *, is_unchecked: bool
) -> Iterator[Item]:
    """Yield the items of a stage, by part of a layer and limiting resource."""
    split = regions.split(stage.cost.work, stage.cost.rectangle, stage.cost.grid)
    for (part, limit, is_estimated), cycles in split.items():
        yield Item(
            name=part or LAUNCH,
            seconds=machine.seconds(cycles),
            limit=limit,
            is_cross_checked=not (is_unchecked or is_estimated or regions.density < 1),
        )


def busy_fraction(pace: Pace, launches: float, seconds: float, machine: Machine) -> float:
    """Return the mean share of busy PEs, 0 to 1, for `launches` in a time."""
    width, height = largest_rectangle(machine.architecture)
    available = width * height * machine.num_wafers * seconds
    return min(1.0, launches * pace.busy_pe_seconds / available)
