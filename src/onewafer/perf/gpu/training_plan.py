"""The layout of a training step over GPUs, and the possible layouts.

Sizes of groups follow Megatron-LM (Narayanan et al., SC'21, arXiv 2104.04473): tensor parallelism
within a domain, then context, data and pipeline parallelism, neighbours in this order. Experts have
groups of their own over the GPUs of a stage, independent of the groups of the rest of a layer (Liu
et al., MoE Parallel Folding, 2025, arXiv 2504.14960): GPUs that share an expert are neighbours,
then come GPUs with other experts, then GPUs with the same experts.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from itertools import product
from typing import TYPE_CHECKING, TypeVar

from onewafer.errors import ConfigurationError
from onewafer.graph import Experts
from onewafer.perf.gpu.plan import tensor_sizes
from onewafer.perf.gpu.sharding import num_experts
from onewafer.perf.kept_activations import Recompute

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from onewafer.arch import GpuCluster
    from onewafer.perf.jobs import Train
    from onewafer.perf.model import Model

_Choice = TypeVar("_Choice")

_SHORTEST_PART = 1024
"""Fewest tokens of a sequence per GPU of context parallelism: with fewer, rings hide nothing."""
_MICRO_BATCHES = (1, 2, 4, 8)
_LARGEST_MICRO_BATCH = 1 << 16
"""Most tokens of a micro-batch of short sequences, as samples are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """Sizes of groups of GPUs; the product of the first four is the number of GPUs."""

    tensor: int = 1
    """GPUs that share each layer, with sequence parallelism between its products."""
    context: int = 1
    """GPUs that share each sequence; keys and values go round in a ring, or are gathered."""
    pipeline: int = 1
    """Stages, each with a part of the layers."""
    data: int = 1
    """Replicas, each with its own sequences, over which optimizer states are sharded."""
    interleave: int = 1
    """Parts of the layers that each stage has (virtual stages)."""
    micro_batch: int = 1
    """Sequences that go through a stage at once."""
    shards_weights: bool = False
    """True if weights and gradients are sharded over replicas, too, and gathered layer by layer."""
    recompute: Recompute = Recompute.NONE
    gathers_context: bool = False
    """True if attention waits until keys and values of the whole sequence are gathered, so that any
    mask is possible, instead of beginning with those that are there."""
    is_overlapped: bool = True
    """True if products hide communication of tensor, pipeline and data parallelism."""
    expert: int = 1
    """Groups of GPUs of a stage that experts are distributed over."""
    expert_tensor: int = 1
    """GPUs that share each expert."""
    overlaps_experts: bool = True
    """True if tokens go to experts and back while another micro-batch is computed."""
    sends_once: bool = True
    """True if a token is sent once to each domain and GPU with one of its experts, instead of once
    to each expert."""

    @property
    def num_gpus(self) -> int:
        """GPUs in use."""
        return self.tensor * self.context * self.pipeline * self.data

    @property
    def optimizer_shards(self) -> int:
        """GPUs that optimizer states of a weight are spread over."""
        return self.data * self.context

    @property
    def expert_replicas(self) -> int:
        """GPUs of a stage with the same part of the same experts."""
        return self.tensor * self.context * self.data // (self.expert * self.expert_tensor)

    def num_micro_batches(self, batch: int) -> int:
        """Return the micro-batches that pass every stage in a step of `batch` sequences."""
        return batch // (self.data * self.micro_batch)

    def __str__(self) -> str:
        """Return the plan in words."""
        sizes = [
            (self.tensor, "tensor parallelism {}"),
            (self.context, "context parallelism {}"),
            (self.pipeline, "{} pipeline stages"),
            (self.interleave, "each in {} parts"),
            (self.data, "{} replicas"),
            (self.expert, "expert parallelism {}"),
            (self.expert_tensor, "each expert over {} GPUs"),
        ]
        parts = [text.format(f"{size:,}") for size, text in sizes if size > 1]
        parts += ["sharded weights"] if self.shards_weights else []
        parts += ["keys and values gathered"] if self.gathers_context else []
        parts += [] if self.is_overlapped else ["nothing overlapped"]
        if self.expert > 1 and self.is_overlapped and not self.overlaps_experts:
            parts.append("transfers to experts not overlapped")
        parts.append(f"micro-batches of {self.micro_batch}")
        if self.recompute is not Recompute.NONE:
            parts.append(f"{self.recompute} recomputation")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedPlan:
    """The parts of a plan that the user chose; None: the fastest plan is searched."""

    tensor: int | None = None
    context: int | None = None
    pipeline: int | None = None
    interleave: int | None = None
    micro_batch: int | None = None
    shards_weights: bool | None = None
    recompute: Recompute | None = None
    gathers_context: bool | None = None
    """None: keys and values go round in a ring."""
    is_overlapped: bool | None = None
    """None: products hide communication."""
    expert: int | None = None
    expert_tensor: int | None = None
    overlaps_experts: bool | None = None
    """None: another micro-batch hides the transfers of tokens to experts and back."""
    sends_once: bool | None = None
    """None: a token is sent once to each domain and GPU."""

    def __post_init__(self) -> None:
        """Refuse numbers outside their ranges."""
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is int and value < 1:
                raise ConfigurationError(f"a plan with {field.name} = {value}; write at least 1")

    @property
    def is_pinned(self) -> bool:
        """True if the user chose anything."""
        return any(getattr(self, field.name) is not None for field in fields(self))


def training_plans(
    model: Model, job: Train, cluster: GpuCluster, pinned: PinnedPlan
) -> Iterator[TrainingPlan]:
    """Yield every plan that uses all GPUs and divides the batch; recomputation is left open."""
    for plan in _groups(model, job, cluster, pinned):
        if job.batch % plan.data == 0:
            sizes = _micro_batches(job) if not model.has_feature_maps else _parts_of(job, plan.data)
            for size in _choices(pinned.micro_batch, sizes):
                yield from _schedules(
                    replace(plan, micro_batch=size), job, num_pieces(model), pinned
                )


def _groups(
    model: Model, job: Train, cluster: GpuCluster, pinned: PinnedPlan
) -> Iterator[TrainingPlan]:
    """Yield the sizes of groups that use all GPUs, for any batch."""
    gpus, layers, experts = cluster.count, num_pieces(model), most_experts(model)
    tensors = _choices(pinned.tensor, tensor_sizes(model, cluster.gpu.gpus_per_domain))
    contexts = _choices(pinned.context, _context_sizes(job))
    pipelines = _choices(pinned.pipeline, range(1, layers + 1))
    if model.has_feature_maps:  # each GPU has the whole model
        tensors = contexts = pipelines = (1,)
    for tensor, context, pipeline in product(tensors, contexts, pipelines):
        data, left = divmod(gpus, tensor * context * pipeline)
        if left:
            continue
        for expert, expert_tensor in _expert_sizes(experts, gpus // pipeline, tensor, pinned):
            yield TrainingPlan(
                tensor=tensor,
                context=context,
                pipeline=pipeline,
                data=data,
                gathers_context=pinned.gathers_context is True,
                is_overlapped=pinned.is_overlapped is not False,
                expert=expert,
                expert_tensor=expert_tensor,
                overlaps_experts=pinned.overlaps_experts is not False,
                sends_once=pinned.sends_once is not False,
            )


def _expert_sizes(
    experts: int, gpus: int, tensor: int, pinned: PinnedPlan
) -> Iterator[tuple[int, int]]:
    """Yield numbers of expert groups and of GPUs per expert that divide the GPUs of a stage.

    An expert is on one GPU, or on as many as share the rest of a layer.
    """
    groups = _choices(pinned.expert, (n for n in range(1, experts + 1) if experts % n == 0))
    sizes = {1, tensor} if experts > 1 else {1}
    shares = tuple(_choices(pinned.expert_tensor, sorted(sizes)))
    for expert, share in product(groups, shares):
        if gpus % (expert * share) == 0:
            yield expert, share


def _schedules(
    plan: TrainingPlan, job: Train, layers: int, pinned: PinnedPlan
) -> Iterator[TrainingPlan]:
    """Yield the plan with every schedule of its stages, if micro-batches divide the batch."""
    if job.batch % (plan.data * plan.micro_batch):
        return
    count = plan.num_micro_batches(job.batch)
    for parts in _choices(pinned.interleave, _interleavings(plan.pipeline, layers)):
        if parts > 1 and (plan.pipeline == 1 or count % plan.pipeline):
            continue  # Megatron-LM sends micro-batches in groups of the number of stages
        if plan.pipeline * parts > layers + 2:
            continue  # embedding and head may be parts without a layer, no others
        for shards in _choices(pinned.shards_weights, _shardings(plan)):
            yield replace(plan, interleave=parts, shards_weights=shards)


def num_pieces(model: Model) -> int:
    """Return the number of layers that stages share; embedding and head go with the outer ones."""
    return sum(s.repeats for s in model.segments if s.repeats > 1) or 1


def most_experts(model: Model) -> int:
    """Return the number of experts of a layer; 1: no layer has experts."""
    return max(num_experts(segment) for segment in model.segments)


def recomputations(model: Model) -> tuple[Recompute, ...]:
    """Return the possible degrees of recomputation, least first."""
    if model.has_feature_maps:  # it is not known which kernels are cheap to recompute
        return (Recompute.NONE, Recompute.FULL)
    return (*Recompute,)


def lack_of_sharing(model: Model, pinned: PinnedPlan) -> str | None:
    """Return why GPUs cannot share a model as a plan says; None: they can."""
    sizes = (pinned.tensor, pinned.context, pinned.pipeline, pinned.interleave)
    if model.has_feature_maps and any(size not in (None, 1) for size in sizes):
        return (
            f"{model.title} has feature maps, which GPUs do not share: each has the whole model "
            "and a part of the batch; leave these groups out of the plan"
        )
    if model.has_feature_maps and pinned.recompute is Recompute.SELECTIVE:
        return f"of {model.title}, which has feature maps, all is computed again or nothing"
    return None


def lack_of_experts(model: Model, pinned: PinnedPlan) -> str | None:
    """Return why the experts of a plan do not fit a model; None: they do."""
    experts, groups, shares = most_experts(model), pinned.expert or 1, pinned.expert_tensor or 1
    if experts == 1 and max(groups, shares) > 1:
        sizes = " and ".join(f"{n}{s}" for n, s in (("ep", groups), ("et", shares)) if s > 1)
        return f"{model.title} has no experts that a plan could deal out; leave {sizes} out of it"
    if experts % groups:
        near = ", ".join(str(n) for n in range(1, experts + 1) if experts % n == 0)
        return (
            f"expert parallelism {groups} does not share the {experts} experts of {model.title} "
            f"evenly; choose one of {near}"
        )
    for hidden in sorted(set(_hidden_features(model))):
        if hidden % shares:
            return f"{shares} GPUs do not share the {hidden:,} features of an expert evenly"
    return None


def _hidden_features(model: Model) -> Iterator[int]:
    for segment in model.segments:
        for operation in segment.graph.operations:
            if isinstance(operation, Experts):
                yield operation.hidden_features


def nearest_batches(
    model: Model, job: Train, cluster: GpuCluster, pinned: PinnedPlan | None = None
) -> tuple[int, ...]:
    """Return the nearest batches below and above that some plan divides evenly; () if none."""
    pinned = pinned or PinnedPlan()
    units: set[int] = set()
    for plan in _groups(model, job, cluster, pinned):
        unit = plan.data * (pinned.micro_batch or 1)
        units.add(unit * plan.pipeline if (pinned.interleave or 1) > 1 else unit)
    below = {job.batch // unit * unit for unit in units} - {0}
    above = {-(-job.batch // unit) * unit for unit in units}
    return tuple(
        dict.fromkeys([*([max(below)] if below else []), *([min(above)] if above else [])])
    )


def _choices(pinned: _Choice | None, free: Iterable[_Choice]) -> Iterable[_Choice]:
    return free if pinned is None else (pinned,)


def _context_sizes(job: Train) -> tuple[int, ...]:
    sizes = [1]
    while job.sequence % (4 * sizes[-1]) == 0 and job.sequence // (2 * sizes[-1]) >= _SHORTEST_PART:
        sizes.append(2 * sizes[-1])  # each GPU has two parts, an early and a late one
    return tuple(sizes)


def _micro_batches(job: Train) -> tuple[int, ...]:
    """Return sizes of micro-batches: powers of two up to 8, more for short sequences."""
    sizes = [*_MICRO_BATCHES]
    if job.sequence < _SHORTEST_PART:
        while 2 * sizes[-1] <= min(job.batch, _LARGEST_MICRO_BATCH // job.sequence):
            sizes.append(2 * sizes[-1])
    return (*sizes,)


def _parts_of(job: Train, replicas: int) -> tuple[int, ...]:
    """Return sizes of micro-batches: all samples of a GPU, and the powers of two below."""
    most = job.batch // replicas
    return (*(1 << power for power in range(most.bit_length()) if 1 << power < most), most)


def _interleavings(pipeline: int, layers: int) -> tuple[int, ...]:
    """Return divisors of the layers of a stage."""
    if pipeline == 1:
        return (1,)
    most = -(-layers // pipeline)
    return tuple(parts for parts in range(1, most + 1) if most % parts == 0)


def _shardings(plan: TrainingPlan) -> tuple[bool, ...]:
    can_shard = plan.pipeline == 1 and plan.optimizer_shards > 1
    return (False, True) if can_shard else (False,)
