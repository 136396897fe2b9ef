"""Training on GPUs: the fastest plan of all that fit, and what a run takes under it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from onewafer.arch import GpuCluster, load_cluster
from onewafer.errors import ConfigurationError
from onewafer.perf.answer import Answer, Choice, Memory, Refusal
from onewafer.perf.gpu.aiconfigurator import AiconfiguratorTables, is_installed
from onewafer.perf.gpu.clock import KernelClock
from onewafer.perf.gpu.kernels import product_format
from onewafer.perf.gpu.training_constants import load_training_constants
from onewafer.perf.gpu.training_plan import (
    PinnedPlan,
    lack_of_experts,
    lack_of_sharing,
    most_experts,
    nearest_batches,
    recomputations,
    training_plans,
)
from onewafer.perf.gpu.training_step import TrainingSteps
from onewafer.perf.jobs import Precision
from onewafer.perf.kept_activations import Recompute
from onewafer.perf.training_work import AttentionPairs, model_flop_per_token
from onewafer.units import format_size

if TYPE_CHECKING:
    from onewafer.arch import Gpu
    from onewafer.perf.breakdown import Breakdown
    from onewafer.perf.gpu.training_plan import TrainingPlan
    from onewafer.perf.gpu.training_step import GpuMemory
    from onewafer.perf.jobs import Train
    from onewafer.perf.model import Model

_ENGINE = "trtllm"
"""The engine whose measured products and attention are used: the GPU vendor's own."""
_LARGEST_CLUSTER = 1 << 20
_OF_SAMPLES = (
    "a convolution is three products of the sizes of cuDNN's, a norm over the batch reads its maps "
    "twice; statistics are those of the samples that a GPU has at once"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """Choices for training on GPUs."""

    precision: Precision = Precision.BF16
    """Format of products with weights; the rest is bf16; sums, gradients and optimizer are fp32."""
    plan: PinnedPlan = field(default_factory=PinnedPlan)
    attention_pairs: AttentionPairs = AttentionPairs.ALL
    """The attention that counts for MFU."""

    def __post_init__(self) -> None:
        """Refuse formats that are not used for training."""
        if self.precision not in (Precision.BF16, Precision.FP16, Precision.FP8):
            raise ConfigurationError(
                f"training in {self.precision} is not modelled; write bf16, fp16 or fp8"
            )


def estimate_training(
    model: Model,
    job: Train,
    cluster: str | GpuCluster,
    options: TrainingOptions | None = None,
    *,
    clock: KernelClock | None = None,
) -> Answer | Refusal:
    """Return a training run under the fastest plan, or why no plan can do it.

    `clock` times kernels; None: by the tables of aiconfigurator-core if it is installed. Raise
    ConfigurationError for a sequence that the model was not made for.
    """
    cluster = load_cluster(cluster) if isinstance(cluster, str) else cluster
    options = options or TrainingOptions()
    lack = product_format(options.precision).lack(cluster.gpu)
    lack = lack or lack_of_experts(model, options.plan) or lack_of_sharing(model, options.plan)
    if model.has_feature_maps and options.precision is Precision.FP8:
        lack = f"training of feature maps in {options.precision} is not modelled; write bf16"
    if lack is not None:
        return Refusal(system=cluster.name, title=cluster.title, reason=lack)
    search = _Search(model, job, cluster, options, clock)
    return search.result()


@dataclass(frozen=True, slots=True)
class _Candidate:
    plan: TrainingPlan
    seconds: float
    memory: GpuMemory


class _Search:
    def __init__(
        self,
        model: Model,
        job: Train,
        cluster: GpuCluster,
        options: TrainingOptions,
        clock: KernelClock | None,
    ) -> None:
        self._model, self._job = model, job
        self._cluster, self._options = cluster, options
        self._format = product_format(options.precision)
        self._peak = self._format.peak_flop_per_second(cluster.gpu)
        tables = AiconfiguratorTables(cluster.gpu.measurements, _ENGINE) if is_installed() else None
        self._clock = clock or KernelClock(cluster.gpu, tables)
        self._steps = TrainingSteps(
            model,
            job,
            self._clock,
            products=self._format,
            constants=load_training_constants(),
        )

    def result(self) -> Answer | Refusal:
        considered = 0
        best: _Candidate | None = None
        smallest: _Candidate | None = None
        for plan in training_plans(self._model, self._job, self._cluster, self._options.plan):
            considered += 1
            found, least = self._with_memory(plan)
            if smallest is None or least.memory.total < smallest.memory.total:
                smallest = least
            if found is not None and (best is None or found.seconds < best.seconds):
                best = found
        if best is not None:
            return self._answer(best, considered)
        return self._refuse(smallest)

    def _with_memory(self, plan: TrainingPlan) -> tuple[_Candidate | None, _Candidate]:
        """Return the plan with least recomputation that fits, and the one with least memory."""
        pinned = self._options.plan.recompute
        least: _Candidate | None = None
        for recompute in recomputations(self._model) if pinned is None else (pinned,):
            whole = replace(plan, recompute=recompute)
            memory = self._steps.memory(whole)
            if memory.total <= self._cluster.gpu.memory_bytes:
                found = _Candidate(whole, self._steps.seconds(whole), memory)
                return found, found
            if least is None or memory.total < least.memory.total:
                least = _Candidate(whole, float("inf"), memory)
        assert least is not None
        return None, least

    def _answer(self, best: _Candidate, considered: int) -> Answer:
        gpu, count, job = self._cluster.gpu, self._cluster.count, self._job
        watts = count * (gpu.busy_watts + gpu.host_watts)
        rate = job.tokens_per_step / best.seconds
        flop = model_flop_per_token(self._model, job.sequence, self._options.attention_pairs)
        breakdown = self._steps.breakdown(best.plan)
        return Answer(
            system=self._cluster.name,
            title=self._cluster.title,
            job=job,
            precision=self._options.precision,
            choice=Choice(
                text=str(best.plan),
                reason=_reason(best, breakdown, considered, gpu),
                num_considered=considered,
                is_pinned=self._options.plan.is_pinned,
            ),
            breakdown=breakdown,
            memory=_memory(best.memory, self._cluster),
            num_devices=count,
            watts=watts,
            energy_basis=(
                f"{gpu.busy_watts:g} W a GPU (thermal design power) and {gpu.host_watts:g} W for "
                "its share of the node"
            ),
            tokens_per_second=rate,
            joules_per_token=watts / rate,
            mfu=flop * rate / (count * self._peak),
            total_seconds=job.tokens / rate,
            notes=self._notes(best),
        )

    def _notes(self, best: _Candidate) -> tuple[str, ...]:
        share = load_training_constants().share_of(self._format)
        pairs = "all pairs of tokens"
        if self._options.attention_pairs is AttentionPairs.CAUSAL:
            pairs = "the pairs under a causal mask"
        peak = self._format.value
        notes = (
            self._clock.measurements.source,
            f"products and attention run at {share:.0%} of their speed measured alone",
            f"MFU counts {pairs} in attention, no recomputation, and the peak of {peak}",
            "without loading of data, checkpoints, failures",
        )
        if self._model.has_feature_maps:
            notes += (_OF_SAMPLES,)
        if most_experts(self._model) > 1:
            balanced = "experts are chosen equally often and no token is dropped"
            notes += (f"{balanced}; MFU counts those that a token meets",)
        if best.plan.recompute is Recompute.SELECTIVE:
            notes += ("norms and activation functions are computed again in the backward pass",)
        return notes

    def _refuse(self, smallest: _Candidate | None) -> Refusal:
        if smallest is None:
            reason = self._indivisible()
        else:
            needed, gpu = smallest.memory, self._cluster.gpu
            reason = (
                f"a GPU would need {format_size(needed.total)} and has "
                f"{format_size(gpu.memory_bytes)}, under the plan that needs least "
                f"({smallest.plan}): {_parts_of(needed)}; {self._larger()}"
            )
        return Refusal(system=self._cluster.name, title=self._cluster.title, reason=reason)

    def _indivisible(self) -> str:
        """Say why there is no plan at all, and which batch would have one."""
        gpus, batch, pinned = self._cluster.count, self._job.batch, self._options.plan
        near = nearest_batches(self._model, self._job, self._cluster, pinned)
        if near:
            batches = " or ".join(f"{size:,}" for size in near)
            return (
                f"no plan shares a batch of {batch:,} sequences evenly over {gpus:,} GPUs; "
                f"write --batch {batches}"
            )
        sizes = [size for size in (pinned.tensor, pinned.context, pinned.pipeline) if size]
        of_experts = [s for s in (pinned.expert, pinned.expert_tensor, pinned.pipeline) if s]
        for groups in (sizes, of_experts):
            if gpus % math.prod(groups):
                return (
                    f"the plan's groups ({' × '.join(map(str, groups))} GPUs) do not divide "
                    f"{gpus:,} GPUs; choose sizes whose product does"
                )
        if sizes or of_experts:
            return (
                f"no plan of {gpus:,} GPUs has these groups; leave one of them out, or choose "
                "smaller ones"
            )
        return f"the model cannot be shared by {gpus:,} GPUs; choose a power of two"

    def _larger(self) -> str:
        count = 2 * self._cluster.count
        while count <= _LARGEST_CLUSTER:
            cluster = replace(self._cluster, count=count)
            plans = training_plans(self._model, self._job, cluster, self._options.plan)
            if any(self._with_memory(plan)[0] is not None for plan in plans):
                return f"{cluster.name} has room for it"
            count *= 2
        return "no larger number of these GPUs would do at this batch"


def _parts_of(memory: GpuMemory) -> str:
    parts = {
        "weights": memory.weights,
        "gradients": memory.gradients,
        "optimizer states": memory.optimizer,
        "activations": memory.activations,
        "reserve": memory.reserve,
    }
    return ", ".join(f"{name} {format_size(size)}" for name, size in parts.items())


def _reason(best: _Candidate, breakdown: Breakdown, considered: int, gpu: Gpu) -> str:
    largest = breakdown.largest(lambda item: item.limit, 2)
    where = ", ".join(f"{share:.0%} {limit}" for limit, share in largest)
    return (
        f"the fastest of {considered:,} plans: {where}; a GPU keeps "
        f"{format_size(best.memory.total)} of {format_size(gpu.memory_bytes)}"
    )


def _memory(memory: GpuMemory, cluster: GpuCluster) -> Memory:
    """Return the bytes of the system, with all GPUs as full as the fullest."""
    count = cluster.count
    return Memory(
        weight_bytes=round(memory.weights * count),
        cache_bytes=0,
        other_bytes=round((memory.total - memory.weights) * count),
        available_bytes=cluster.gpu.memory_bytes * count,
    )
