"""The pieces of a model under a plan: times, weights and saved bytes on one GPU.

Results are cached for plans that differ only in their pipelines.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, NamedTuple

from onewafer.perf.breakdown import Breakdown, Item, Limit
from onewafer.perf.gpu.clock import KernelTime
from onewafer.perf.gpu.collectives import Collective, Group
from onewafer.perf.gpu.feature_map_pieces import sweep_kernel
from onewafer.perf.gpu.kernels import Communication, Elementwise, NumberFormat, PrefillAttention
from onewafer.perf.gpu.sharding import Attend, Fused, Mix, Product, Sweep, shard
from onewafer.perf.gpu.training_layer import (
    LOSS,
    HiddenTransfers,
    MicroBatch,
    PieceClock,
    PieceTime,
)
from onewafer.perf.gpu.training_map_kernels import WeightedMaps, trained_piece
from onewafer.perf.kept_activations import ACTIVATION_BYTES, Recompute, kept_bytes
from onewafer.perf.training_work import training_pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from onewafer.perf.gpu.clock import KernelClock
    from onewafer.perf.gpu.kernels import Kernel
    from onewafer.perf.gpu.sharding import Part, ShardedPiece
    from onewafer.perf.gpu.training_constants import TrainingConstants
    from onewafer.perf.gpu.training_map_kernels import MapPart, TrainedPiece
    from onewafer.perf.gpu.training_plan import TrainingPlan
    from onewafer.perf.jobs import Train
    from onewafer.perf.model import Model

DATA_PARALLELISM = "data parallelism"
RECOMPUTATION = "recomputation"


class WeightCounts(NamedTuple):
    """Elements of weights on one GPU, before GPUs with the same weights share them."""

    others: int
    """Weights outside experts."""
    experts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPiece:
    """One piece of a segment on one GPU under a plan; times are those of one micro-batch."""

    forward: Breakdown
    backward: Breakdown
    """Recomputation included."""
    forward_seconds: float
    backward_seconds: float
    counts: WeightCounts
    hidden: HiddenTransfers
    hidden_limit: Limit
    kept_bytes: float
    """Bytes that one micro-batch saves for the backward pass."""
    working_bytes: float
    """All bytes that the backward pass of one micro-batch reads."""
    logits: int
    """Logits of one micro-batch."""


class Pieces:
    """The pieces of one model for one job."""

    def __init__(
        self,
        model: Model,
        job: Train,
        clock: KernelClock,
        *,
        products: NumberFormat,
        constants: TrainingConstants,
    ) -> None:
        pieces = training_pieces(model, job.sequence)
        self.segments = tuple(piece.segment for piece in pieces)
        self.constants = constants
        self.job, self.clock, self.products = job, clock, products
        self._graphs = tuple(piece.graph for piece in pieces)
        self._sharded = cache(self._shard)
        self.timed = cache(self.time)
        self._kept = cache(self._keep)
        self._planned = cache(self._plan)

    @property
    def residual_features(self) -> int:
        """Features of the residual stream, which passes between layers."""
        longest = max(range(len(self.segments)), key=lambda index: self.segments[index].repeats)
        return self._graphs[longest].inputs[0].shape[-1]

    def planned(self, index: int, plan: TrainingPlan) -> PlannedPiece:
        """Return a piece of a segment under a plan."""
        data = plan.data if plan.shards_weights else 1
        return self._planned(index, replace(plan, pipeline=1, interleave=1, data=data))

    def num_tokens(self, plan: TrainingPlan) -> int:
        """Return the rows of a micro-batch on one GPU."""
        return plan.micro_batch * self.job.sequence // plan.context

    def _plan(self, index: int, plan: TrainingPlan) -> PlannedPiece:
        timed = self.timed(
            index, replace(plan, data=1, shards_weights=False, recompute=Recompute.NONE)
        )
        again = {
            Recompute.NONE: Breakdown(),
            Recompute.SELECTIVE: timed.elementwise,
            Recompute.FULL: timed.forward,
        }[plan.recompute]
        forward, backward = timed.forward, timed.backward + _renamed(again, RECOMPUTATION)
        counts = self.count_weights(index, plan)
        if plan.shards_weights:
            forward, backward = self._with_gathers(forward, backward, counts, plan)
        return PlannedPiece(
            forward=forward,
            backward=backward,
            forward_seconds=forward.seconds,
            backward_seconds=backward.seconds,
            counts=counts,
            hidden=timed.hidden,
            hidden_limit=timed.hidden_limit,
            kept_bytes=self.count_kept(index, plan),
            working_bytes=self.count_kept(index, replace(plan, recompute=Recompute.NONE)),
            logits=self.count_logits(index, plan),
        )

    def count_weights(self, index: int, plan: TrainingPlan) -> WeightCounts:
        """Return the weights of a piece on one GPU."""
        piece = self._sharded(index, plan.tensor)
        return WeightCounts(
            piece.quantized_weights + piece.plain_weights - piece.expert_weights,
            sum(_elements_of_gpu(part, plan) for part in piece.parts if isinstance(part, Mix)),
        )

    def count_kept(self, index: int, plan: TrainingPlan) -> float:
        """Return the bytes that one micro-batch saves for the backward pass of a piece."""
        tokens = self.num_tokens(plan) / plan.tensor
        return self._kept(index, plan.recompute, plan.expert_tensor) * tokens

    def count_logits(self, index: int, plan: TrainingPlan) -> int:
        """Return the elements of a micro-batch that the loss is computed of."""
        piece = self._sharded(index, plan.tensor)
        return self._micro_batch(index, plan).outputs * _logits_of_row(piece)

    def _shard(self, index: int, tensor: int) -> ShardedPiece:
        is_last = index == len(self.segments) - 1
        return shard(self.segments[index], tensor, is_last=is_last)

    def time(self, index: int, plan: TrainingPlan) -> PieceTime:
        """Return the time of one micro-batch in a piece."""
        rows = self._micro_batch(index, plan)
        clock = PieceClock(self.clock, plan, rows, products=self.products, constants=self.constants)
        parts = self._sharded(index, plan.tensor).parts
        return clock.time(parts, whole=_whole(parts, self._sharded(index, 1).parts))

    def _micro_batch(self, index: int, plan: TrainingPlan) -> MicroBatch:
        graph = self._graphs[index]
        outputs = graph.tensor(graph.outputs[0]).shape[0]
        return MicroBatch(
            tokens=self.num_tokens(plan),
            outputs=max(1, plan.micro_batch * outputs // plan.context),
            sequences=plan.micro_batch,
            sequence=self.job.sequence,
        )

    def _keep(self, index: int, recompute: Recompute, expert_tensor: int) -> float:
        is_small = self.products in (NumberFormat.FP8, NumberFormat.FP8_BLOCK)
        operand_bytes = self.products.num_bytes if is_small else ACTIVATION_BYTES
        return kept_bytes(
            self._graphs[index],
            recompute,
            operand_bytes=operand_bytes,
            copies_of_rows=expert_tensor,
        )

    def _with_gathers(
        self,
        forward: Breakdown,
        backward: Breakdown,
        counts: WeightCounts,
        plan: TrainingPlan,
    ) -> tuple[Breakdown, Breakdown]:
        """Add what gathering weights and adding gradients takes longer than the piece."""
        gather, scatter = (
            exchange_over_replicas(self.clock, plan, counts, collective, element_bytes)
            for collective, element_bytes in (
                (Collective.ALL_GATHER, self.products.num_bytes),
                (Collective.REDUCE_SCATTER, self.constants.gradient_bytes),
            )
        )

        def with_rest(direction: Breakdown, seconds: float) -> Breakdown:
            rest = max(0.0, seconds - direction.seconds)
            item = Item(
                name=DATA_PARALLELISM, seconds=rest, limit=gather.limit, is_cross_checked=False
            )
            return direction + Breakdown((item,))

        return (
            with_rest(forward, gather.seconds),
            with_rest(backward, gather.seconds + scatter.seconds),
        )


def exchange_over_replicas(
    clock: KernelClock,
    plan: TrainingPlan,
    counts: WeightCounts,
    collective: Collective,
    element_bytes: float,
) -> KernelTime:
    """Return the time of a collective of all weights over the GPUs that share them.

    Weights of experts are shared by the GPUs that have the same ones, others by all replicas.
    """
    own, of_experts = (count * element_bytes for count in counts)
    group = Group(plan.optimizer_shards, stride=plan.tensor)
    others = clock.time(Communication(collective, own, group))
    if not of_experts:
        return others
    group = Group(plan.expert_replicas, stride=plan.expert * plan.expert_tensor)
    experts = clock.time(Communication(collective, of_experts, group))
    return KernelTime(
        others.seconds + experts.seconds,
        max((others, experts), key=lambda time: time.seconds).limit,
        is_measured=others.is_measured and experts.is_measured,
    )


def _elements_of_gpu(part: Mix, plan: TrainingPlan) -> int:
    shape = replace(part.shape, expert=plan.expert, tensor=plan.expert_tensor)
    return shape.elements_of_gpu


def _whole(parts: tuple[Part, ...], alone: tuple[Part, ...]) -> frozenset[int]:
    """Return the indices of elementwise parts with all features, which are sharded by rows."""
    fused = [(index, part.elements) for index, part in enumerate(parts) if isinstance(part, Fused)]
    widths = [part.elements for part in alone if isinstance(part, Fused)]
    return frozenset(
        index for (index, own), width in zip(fused, widths, strict=True) if own == width
    )


def _logits_of_row(piece: ShardedPiece) -> int:
    products = (part for part in piece.parts if isinstance(part, Product))
    return sum(p.outputs for p in products if not (p.is_quantized or p.is_choice))


def _renamed(breakdown: Breakdown, name: str) -> Breakdown:
    return Breakdown(tuple(replace(item, name=name) for item in breakdown.items))


class MapPieces(Pieces):
    """The pieces of one model on feature maps for one job.

    Each GPU has the whole model; a micro-batch is some samples. Its BatchNorms have statistics of
    their own, as those of PyTorch's DistributedDataParallel have; nothing is exchanged for them.
    """

    @cached_property
    def _trained(self) -> Callable[[int], TrainedPiece]:
        return cache(self._piece)

    def _piece(self, index: int) -> TrainedPiece:
        segment = self.segments[index]
        return trained_piece(
            segment,
            is_first=index == 0 and segment.repeats == 1,
            is_last=index == len(self.segments) - 1,
        )

    def count_weights(self, index: int, plan: TrainingPlan) -> WeightCounts:
        """Return the weights of a piece, all of which a GPU has."""
        del plan
        return WeightCounts(self._trained(index).num_weights, 0)

    def count_kept(self, index: int, plan: TrainingPlan) -> float:
        """Return the bytes that one micro-batch saves for the backward pass of a piece."""
        piece = self._trained(index)
        is_whole = plan.recompute is Recompute.FULL
        elements = piece.input_elements if is_whole else piece.kept_elements
        return elements * ACTIVATION_BYTES * plan.micro_batch

    def count_logits(self, index: int, plan: TrainingPlan) -> int:
        """Return the elements of a micro-batch that the loss is computed of."""
        is_last = index == len(self.segments) - 1
        return self._trained(index).result_elements * plan.micro_batch if is_last else 0

    def time(self, index: int, plan: TrainingPlan) -> PieceTime:
        """Return the time of one micro-batch in a piece."""
        piece, samples = self._trained(index), plan.micro_batch
        loss = [*self._loss(self.count_logits(index, plan))]
        forward = [self._item(part, samples) for part in piece.forward]
        backward = [
            self._item(part, samples, self.constants.attention_backward)
            if isinstance(part, Attend)
            else self._item(part, samples)
            for part in piece.backward
        ]
        return PieceTime(
            Breakdown((*forward, *loss)).merged(),
            Breakdown((*loss, *backward)).merged(),
            elementwise=Breakdown(),
            hidden=HiddenTransfers(0.0, 0.0),
            hidden_limit=Limit.NVLINK,
        )

    def _loss(self, logits: int) -> Iterator[Item]:
        if logits:
            half = Elementwise(logits * self.constants.loss_traffic_bytes / 2)
            yield self.clock.time(half).item(LOSS)

    def _item(self, part: MapPart, samples: int, factor: float = 1.0) -> Item:
        """Return the time of a part; products and attention do not sustain their speed alone."""
        name = "attention" if isinstance(part, Attend) else part.name
        is_product = not isinstance(part, Sweep) or part.is_product
        share = self.constants.share_of(self.products) if is_product else 1.0
        time = self.clock.time(self._kernel(part, samples))
        return time.item(name, time.seconds * (factor / share))

    def _kernel(self, part: MapPart, samples: int) -> Kernel:
        match part:
            case WeightedMaps():
                return part.kernel(samples, self.products)
            case Sweep():
                return sweep_kernel(part, samples, self.products)
            case Attend():
                rows = part.tokens or self.job.sequence
                number_format = NumberFormat.BF16
                return PrefillAttention(part.shape, samples, rows, 0, number_format, part.is_causal)
