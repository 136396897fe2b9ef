"""How long an optimizer step takes under a plan, and whether its GPUs have the memory.

In: a model, a job, a plan, a clock for kernels. Out: a breakdown whose items add up to the step:

    step = m · slowest stage                     m micro-batches, forward and backward
         + (Σ other stages) / v                  bubble of the pipeline; (p − 1) / (v · m) of the
                                                 work where stages are equal (SC'21, section 2.2)
         + sends that nothing hides
         + gradients and weights of replicas, less what the last micro-batch's backward and the
           first one's forward pass hide; experts have replicas of their own
         + transfers to experts that another micro-batch hides, once: nothing hides those of the
           first one's forward and the last one's backward pass, as the pipeline fills and empties
         + optimizer

Activations are sharded by rows between products and by features elsewhere, so that a
tensor-parallel group has each element once (Korthikanti et al., 2022, arXiv 2205.05198).
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

from onewafer.perf.breakdown import Breakdown, Item, Limit, total
from onewafer.perf.gpu.collectives import Collective, Group
from onewafer.perf.gpu.kernels import Communication, Elementwise
from onewafer.perf.gpu.training_experts import EXPERT_PARALLELISM
from onewafer.perf.gpu.training_layer import HiddenTransfers
from onewafer.perf.gpu.training_pieces import (
    DATA_PARALLELISM,
    MapPieces,
    Pieces,
    WeightCounts,
    exchange_over_replicas,
)
from onewafer.perf.kept_activations import ACTIVATION_BYTES, Recompute

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from onewafer.graph import Segment
    from onewafer.perf.gpu.clock import KernelClock
    from onewafer.perf.gpu.kernels import NumberFormat
    from onewafer.perf.gpu.training_constants import TrainingConstants
    from onewafer.perf.gpu.training_pieces import PlannedPiece
    from onewafer.perf.gpu.training_plan import TrainingPlan
    from onewafer.perf.jobs import Train
    from onewafer.perf.model import Model

Stage = tuple[tuple[int, int], ...]
"""Pairs of a segment's index and the number of its pieces."""


def divide(segments: Sequence[Segment], stages: int, parts: int) -> tuple[Stage, ...]:
    """Return the layers of each stage; the outer stages have the embedding and the head, too.

    Layers are dealt out in stages · parts runs of equal length, run i to stage i mod stages; where
    they do not divide, the last and the first runs are a layer shorter, as those have the head and
    the embedding besides (The Llama 3 Herd of Models, section 3.3.2).
    """
    repeated = [index for index, segment in enumerate(segments) if segment.repeats > 1]
    if not repeated:
        return (tuple((index, 1) for index in range(len(segments))),)
    layers = [index for index in repeated for _ in range(segments[index].repeats)]
    counts = [Counter[int]() for _ in range(stages)]
    start = 0
    for run, length in enumerate(run_lengths(len(layers), stages * parts)):
        counts[run % stages].update(layers[start : start + length])
        start += length
    for index in range(len(segments)):
        if index not in repeated:
            counts[-1 if index > repeated[-1] else 0][index] += 1
    return tuple(tuple(sorted(count.items())) for count in counts)


def run_lengths(layers: int, runs: int) -> tuple[int, ...]:
    """Return the lengths of runs of layers, the short ones at both ends.

    >>> run_lengths(126, 128)[:3], run_lengths(126, 128)[-2:]
    ((0, 1, 1), (1, 0))
    >>> run_lengths(10, 4)
    (2, 3, 3, 2)
    """
    short, rest = divmod(layers, runs)
    if not rest:
        return (short,) * runs
    lengths = [short + 1] * runs
    for index in _from_both_ends(runs, runs - rest):
        lengths[index] = short
    return tuple(lengths)


def _from_both_ends(count: int, wanted: int) -> Iterator[int]:
    """Yield `wanted` indices from both ends: the last, the first, the last but one and so on."""
    for place in range(wanted):
        yield place // 2 if place % 2 else count - 1 - place // 2


OPTIMIZER = "optimizer"
SENDS = "between stages"
BUBBLE = "pipeline bubble"


@dataclass(frozen=True, slots=True)
class _Stage:
    """A stage under a plan; times are those of one micro-batch."""

    pieces: tuple[tuple[PlannedPiece, int], ...]
    forward: float
    backward: float
    counts: WeightCounts
    hidden: HiddenTransfers

    @property
    def seconds(self) -> float:
        return self.forward + self.backward

    @property
    def num_pieces(self) -> int:
        return sum(count for _, count in self.pieces)


class TrainingSteps:
    """Computes the times of steps of one model and job under any plan."""

    def __init__(
        self,
        model: Model,
        job: Train,
        clock: KernelClock,
        *,
        products: NumberFormat,
        constants: TrainingConstants,
    ) -> None:
        self._job, self._clock, self._constants = job, clock, constants
        kind = MapPieces if model.has_feature_maps else Pieces
        self._pieces = kind(model, job, clock, products=products, constants=constants)
        self._divided = cache(partial(divide, model.segments))

    def seconds(self, plan: TrainingPlan) -> float:
        """Return the time of a step: the sum of the breakdown."""
        stages = self._stages(plan)
        work = plan.num_micro_batches(self._job.batch) * _slowest(stages).seconds
        return work + math.fsum(item.seconds for item in self._rest(plan, stages))

    def breakdown(self, plan: TrainingPlan) -> Breakdown:
        """Return where the time of a step goes."""
        stages = self._stages(plan)
        work = total(
            direction.scaled(count)
            for piece, count in _slowest(stages).pieces
            for direction in (piece.forward, piece.backward)
        )
        repeated = work.scaled(plan.num_micro_batches(self._job.batch))
        return (repeated + Breakdown((*self._rest(plan, stages),))).merged()

    def memory(self, plan: TrainingPlan) -> GpuMemory:
        """Return the bytes of the fullest GPU.

        The first of several stages with equal layers saves the most micro-batches.
        """
        first: dict[Stage, tuple[int, _Stage]] = {}
        layouts = self._divided(plan.pipeline, plan.interleave)
        for place, (layout, stage) in enumerate(zip(layouts, self._stages(plan), strict=True)):
            first.setdefault(layout, (place, stage))
        found = [self._memory(plan, place, stage) for place, stage in first.values()]
        return max(found, key=lambda memory: memory.total)

    def _stages(self, plan: TrainingPlan) -> tuple[_Stage, ...]:
        known: dict[Stage, _Stage] = {}
        stages = self._divided(plan.pipeline, plan.interleave)
        for stage in stages:
            if stage not in known:
                known[stage] = self._stage(plan, stage)
        return tuple(known[stage] for stage in stages)

    def _stage(self, plan: TrainingPlan, stage: Stage) -> _Stage:
        pieces = tuple((self._pieces.planned(index, plan), count) for index, count in stage)
        return _Stage(
            pieces,
            forward=sum(piece.forward_seconds * count for piece, count in pieces),
            backward=sum(piece.backward_seconds * count for piece, count in pieces),
            counts=WeightCounts(
                sum(piece.counts.others * count for piece, count in pieces),
                sum(piece.counts.experts * count for piece, count in pieces),
            ),
            hidden=HiddenTransfers(
                sum(piece.hidden.forward * count for piece, count in pieces),
                sum(piece.hidden.backward * count for piece, count in pieces),
            ),
        )

    def _rest(self, plan: TrainingPlan, stages: tuple[_Stage, ...]) -> Iterator[Item]:
        """Yield the items beside the micro-batches of the slowest stage."""
        slowest = _slowest(stages)
        fullest = max(stages, key=lambda stage: sum(stage.counts))
        if plan.pipeline > 1:
            others = math.fsum(stage.seconds for stage in stages) - slowest.seconds
            yield Item(name=BUBBLE, seconds=others / plan.interleave, limit=Limit.BUBBLE)
            yield self._sends(plan, slowest)
        if not plan.shards_weights:
            yield self._replicas(plan, fullest)
        if any(sum(stage.hidden) for stage in stages):
            yield self._exposed_transfers(plan, stages)
        shards = (plan.optimizer_shards, plan.expert_replicas)
        own = math.fsum(count / n for count, n in zip(fullest.counts, shards, strict=True))
        update = self._clock.time(Elementwise(own * self._constants.optimizer_traffic_bytes))
        yield update.item(OPTIMIZER)

    def _exposed_transfers(self, plan: TrainingPlan, stages: tuple[_Stage, ...]) -> Item:
        """Return the transfers to experts at both ends of the step, which nothing hides."""
        slowest = _slowest(stages)
        own = sum(slowest.hidden)
        others = math.fsum(sum(stage.hidden) for stage in stages) - own
        longest = max((piece for piece, _ in slowest.pieces), key=lambda p: sum(p.hidden))
        return Item(
            name=EXPERT_PARALLELISM,
            seconds=own + others / plan.interleave,
            limit=longest.hidden_limit,
            is_cross_checked=False,
        )

    def _sends(self, plan: TrainingPlan, stage: _Stage) -> Item:
        """Return the exposed sends between stages: 2 (p − 1) as the pipeline fills and empties.

        In between, a stage with one part waits for each send; one with several overlaps a send with
        the next part.
        """
        elements = self._pieces.num_tokens(plan) * self._pieces.residual_features
        num_bytes = elements * ACTIVATION_BYTES / plan.tensor
        group = Group(2, stride=plan.tensor * plan.context * plan.data)
        send = self._clock.time(Communication(Collective.SEND, num_bytes, group))
        count = plan.num_micro_batches(self._job.batch) * plan.interleave
        waits = send.seconds
        if plan.interleave > 1 and plan.is_overlapped:
            waits = max(0.0, send.seconds - stage.forward / plan.interleave)
        return send.item(SENDS, 2 * ((plan.pipeline - 1) * send.seconds + count * waits))

    def _replicas(self, plan: TrainingPlan, stage: _Stage) -> Item:
        """Return the exposed part of reducing gradients and gathering weights: at least one piece.

        The gradients of a piece are reduced during the last backward pass of the piece before it;
        its weights are gathered during the first forward pass of that piece.
        """
        scatter, gather = (
            exchange_over_replicas(self._clock, plan, stage.counts, collective, element_bytes)
            for collective, element_bytes in (
                (Collective.REDUCE_SCATTER, self._constants.gradient_bytes),
                (Collective.ALL_GATHER, self._constants.weight_bytes),
            )
        )
        forward, backward = 0.0, 0.0
        if plan.is_overlapped:  # no other micro-batch is there to hide the transfers to experts
            forward = stage.forward + stage.hidden.forward
            backward = stage.backward + stage.hidden.backward
        seconds = max(scatter.seconds - backward, scatter.seconds / stage.num_pieces)
        seconds += max(gather.seconds - forward, gather.seconds / stage.num_pieces)
        return scatter.item(DATA_PARALLELISM, seconds)

    def _states(
        self, plan: TrainingPlan, stage: _Stage
    ) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Return the bytes of weights, gradients and optimizer states, experts separately."""
        others, experts = stage.counts
        largest = max(piece.counts.others for piece, _ in stage.pieces)
        largest_experts = max(piece.counts.experts for piece, _ in stage.pieces)
        return (
            state_bytes(others, largest, plan, self._constants),
            state_bytes(experts, largest_experts, plan, self._constants, are_experts=True),
        )

    def _memory(self, plan: TrainingPlan, place: int, stage: _Stage) -> GpuMemory:
        constants, pieces = self._constants, stage.pieces
        weights, gradients, optimizer = map(sum, zip(*self._states(plan, stage), strict=True))
        kept = sum(piece.kept_bytes * count for piece, count in pieces)
        activations = kept * in_flight(plan, plan.num_micro_batches(self._job.batch), stage=place)
        if plan.recompute is not Recompute.NONE:
            activations += max(piece.working_bytes - piece.kept_bytes for piece, _ in pieces)
        activations += constants.loss_bytes * sum(piece.logits for piece, _ in pieces)
        return GpuMemory(
            weights=weights,
            gradients=gradients,
            optimizer=optimizer,
            activations=activations,
            reserve=self._clock.gpu.reserve_bytes,
        )


def _slowest(stages: tuple[_Stage, ...]) -> _Stage:
    return max(stages, key=lambda stage: stage.seconds)


def in_flight(plan: TrainingPlan, num_micro_batches: int, *, stage: int) -> float:
    """Return the most micro-batches whose activations a stage saves at a time.

    They are between their forward and backward pass: of the first of p stages p, or
    p + (p − 1) / v with v parts a stage.
    """
    behind = plan.pipeline - stage
    if plan.interleave > 1:
        behind += (plan.pipeline - 1) / plan.interleave
    return min(float(num_micro_batches), behind)


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuMemory:
    """Bytes on one GPU of a stage."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    reserve: float

    @property
    def total(self) -> float:
        """The total bytes of a GPU."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.reserve


def state_bytes(
    weights: float,
    largest_piece: float,
    plan: TrainingPlan,
    constants: TrainingConstants,
    *,
    are_experts: bool = False,
) -> tuple[float, float, float]:
    """Return the bytes of weights, gradients and optimizer states of one GPU.

    `weights` are the GPU's elements before they are sharded over replicas, or, for experts, over
    the GPUs with the same experts. With sharded weights, two pieces are gathered at a time: the one
    in use and the next.
    """
    shards = plan.expert_replicas if are_experts else plan.optimizer_shards
    optimizer = weights * constants.optimizer_bytes / shards
    if not plan.shards_weights:
        return weights * constants.weight_bytes, weights * constants.gradient_bytes, optimizer
    whole = 2 * largest_piece
    return (
        (weights / shards + whole) * constants.weight_bytes,
        (weights / shards + whole) * constants.gradient_bytes,
        optimizer,
    )
