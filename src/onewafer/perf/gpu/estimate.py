"""The cost of a model on a cluster of GPUs: the best plan, or why there is none.

In: a model, a job of inference, a cluster, options. Out: an answer whose breakdown adds up to the
time, or a refusal with the smallest number of GPUs that would do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onewafer.arch import GpuCluster, load_cluster
from onewafer.errors import ConfigurationError
from onewafer.perf.answer import Answer, Choice, Refusal
from onewafer.perf.checks import as_rows, check_job
from onewafer.perf.gpu.aiconfigurator import AiconfiguratorTables, is_installed
from onewafer.perf.gpu.clock import KernelClock
from onewafer.perf.gpu.energy import busy_share, energy_basis, watts
from onewafer.perf.gpu.engine import load_engine
from onewafer.perf.gpu.factors import load_roofline
from onewafer.perf.gpu.options import GpuOptions
from onewafer.perf.gpu.outcome import Bench, inference_job, num_sequences
from onewafer.perf.gpu.plan import Plan, expert_groups, plans, tensor_sizes
from onewafer.perf.gpu.steps import ShardedModel
from onewafer.perf.jobs import Decode, Goal, Pass, Precision, Prefill, Serve
from onewafer.units import format_seconds, format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.arch import Gpu
    from onewafer.perf.answer import Memory
    from onewafer.perf.breakdown import Breakdown
    from onewafer.perf.gpu.outcome import InferenceJob, Outcome
    from onewafer.perf.gpu.profile import Profile
    from onewafer.perf.jobs import Job
    from onewafer.perf.model import Model

_MOST_GPUS = 16384
"""The largest cluster that a refusal considers."""


def estimate(
    model: Model, job: Job, system: str | GpuCluster, options: GpuOptions | None = None
) -> Answer | Refusal:
    """Return what a job costs under the best plan, or why the cluster cannot do it.

    Raise ConfigurationError for an unknown system or engine, a job that is no inference or that the
    model cannot do, or a pinned plan that the model or the cluster rules out.
    """
    options = options or GpuOptions()
    cluster = load_cluster(system) if isinstance(system, str) else system
    check_job(model, job)
    wanted = inference_job(as_rows(model, job), model.name)
    found = best_outcome(model, wanted, cluster, options)
    if isinstance(found, Refusal):
        return found
    return _answer(
        found.bench, cluster, job=wanted, best=found.outcome, num_considered=found.num_considered
    )


@dataclass(frozen=True, slots=True)
class Found:
    """The best plan of a job, and the bench that it was tried on."""

    bench: Bench
    outcome: Outcome
    num_considered: int


def best_outcome(
    model: Model, wanted: InferenceJob, cluster: GpuCluster, options: GpuOptions
) -> Found | Refusal:
    """Return the best plan for a job of inference, or why there is none.

    Raise ConfigurationError as `estimate` does.
    """
    _check_precision(model, options)
    if (reason := options.formats.products.lack(cluster.gpu)) is not None:
        return Refusal(system=cluster.name, title=cluster.title, reason=reason)
    bench = bench_of(model, cluster.gpu, options)
    candidates = _candidates(model, cluster, options, num_sequences(wanted))
    fitting = [plan for plan in candidates if bench.fits(plan, wanted)]
    if not fitting:
        return _refusal(bench, cluster, wanted, candidates)
    outcomes = [bench.outcome(plan, wanted) for plan in fitting]
    best = max(outcomes, key=lambda outcome: outcome.score(options.goal))
    return Found(bench, best, len(candidates))


def _check_precision(model: Model, options: GpuOptions) -> None:
    if options.precision is Precision.MXFP4 and not model.has_experts:
        raise ConfigurationError(
            f"{model.name} has no experts, whose weights are what mxfp4 is for; choose --precision "
            "bf16, fp8 or fp4"
        )


def bench_of(model: Model, gpu: Gpu, options: GpuOptions) -> Bench:
    """Return a bench that tries plans of a model on one kind of GPU."""
    return Bench(ShardedModel(model), gpu, kernel_clock(gpu, options), options)


def kernel_clock(gpu: Gpu, options: GpuOptions) -> KernelClock:
    """Return a clock with the measurements of a profile, else of the installed tables, else none.

    A profile also replaces the bandwidth and launch time of the formulas. Raise ConfigurationError
    if the GPU has no arithmetic for the precision.
    """
    options.formats.products.peak_flop_per_second(gpu)
    if options.profile is not None:
        return profiled_clock(gpu, options.profile)
    if not (options.uses_tables and is_installed()):
        return KernelClock(gpu)
    engine = load_engine(options.engine)
    tables = AiconfiguratorTables(gpu.measurements, engine.name, engine.fuses_conversion)
    return KernelClock(gpu, tables)


def profiled_clock(gpu: Gpu, profile: Profile) -> KernelClock:
    """Return a clock with the measurements of a profile, its bandwidth and launches included."""
    roofline = replace(load_roofline(), kernel_seconds=profile.launch_seconds)
    bandwidth = profile.copy_bytes_per_second / roofline.memory_efficiency
    return KernelClock(replace(gpu, memory_bytes_per_second=bandwidth), profile, roofline=roofline)


def _candidates(
    model: Model, cluster: GpuCluster, options: GpuOptions, sequences: int
) -> Sequence[Plan]:
    if options.plan is None:
        return tuple(plans(model, cluster, most_replicas=sequences))
    plan, sizes = options.plan, tensor_sizes(model, cluster.count)
    if plan.num_gpus > cluster.count:
        raise ConfigurationError(
            f"{plan} needs {plan.num_gpus} GPUs, and {cluster.name} has {cluster.count}"
        )
    if model.has_feature_maps and plan.gpus_per_replica > 1:
        raise ConfigurationError(
            f"{plan}: {model.name} has feature maps, which GPUs do not share; give each a part of "
            f"the batch, as in --plan dp{cluster.count}"
        )
    if plan.tensor not in sizes:
        raise ConfigurationError(
            f"tensor parallelism {plan.tensor} does not divide the heads of {model.name}; "
            f"on {cluster.name} it can be {', '.join(map(str, sizes))}"
        )
    if plan.expert not in (groups := expert_groups(model, plan.tensor)):
        raise ConfigurationError(
            f"{plan.expert} groups of experts do not fit {model.name}; of {plan.tensor} GPUs there "
            f"can be {', '.join(map(str, groups))}"
        )
    return (plan,)


def _answer(
    bench: Bench, cluster: GpuCluster, *, job: InferenceJob, best: Outcome, num_considered: int
) -> Answer:
    options, breakdown = bench.options, bench.breakdown(best, job)
    share = busy_share(breakdown)
    power = watts(cluster, best.plan.num_gpus, share)
    is_pinned = options.plan is not None
    return Answer(
        system=cluster.name,
        title=cluster.title,
        job=job,
        precision=options.precision,
        choice=Choice(
            text=str(best.plan),
            reason="as asked for" if is_pinned else _reason(bench, options.goal),
            num_considered=num_considered,
            is_pinned=is_pinned,
        ),
        breakdown=breakdown,
        memory=_memory(bench, best.plan, job),
        num_devices=cluster.count,
        watts=power,
        energy_basis=energy_basis(cluster, share),
        ttft_seconds=best.ttft_seconds,
        tpot_seconds=best.tpot_seconds,
        tokens_per_second=best.tokens_per_second,
        joules_per_token=power / best.tokens_per_second,
        mfu=_mfu(bench, best.plan, job) if isinstance(job, Prefill) else None,
        notes=_notes(bench, breakdown),
    )


def _reason(bench: Bench, goal: Goal) -> str:
    if not bench.is_served:
        aim = "a batch is through first" if goal is Goal.LATENCY else "most is done in all"
    else:
        aim = "a token comes fastest" if goal is Goal.LATENCY else "most tokens come in all"
    return f"with it {aim}"


def _memory(bench: Bench, plan: Plan, job: InferenceJob) -> Memory:
    memory = bench.memory(plan)
    match job:
        case Decode():
            return memory.memory(sequences=-(-job.batch // plan.replicas), context=job.context)
        case Prefill():
            return memory.memory(sequences=-(-job.batch // plan.replicas), context=job.tokens)
        case Serve():
            running = max(1, round(bench.load(plan, job).running))
            return memory.memory(sequences=running, context=job.prompt + job.answer // 2)


def _mfu(bench: Bench, plan: Plan, job: Prefill) -> float:
    """Return model FLOP ÷ (peak FLOP/s × time)."""
    flop = bench.model.model.count_flop(Pass(sequences=job.batch, new_tokens=job.tokens))
    seconds = bench.prefill_breakdown(plan, job).seconds
    peak = bench.options.formats.products.peak_flop_per_second(bench.gpu)
    return flop / (seconds * plan.num_gpus * peak)


def _notes(bench: Bench, breakdown: Breakdown) -> tuple[str, ...]:
    measured = breakdown.cross_checked_fraction
    basis = (
        f"{bench.clock.measurements.source}; {measured:.0%} of the time is measured kernels and "
        "fitted constants, the rest formulas"
    )
    return (_what_runs(bench), basis, *bench.model.model.notes)


def _what_runs(bench: Bench) -> str:
    formats = bench.options.formats
    maps = " and feature maps" if bench.model.model.has_feature_maps else ""
    if maps or not bench.is_served:
        return (
            f"one launch of all kernels, without a serving engine; weights{maps} in "
            f"{formats.products.value}, inputs in the GPU's memory"
        )
    engine = load_engine(bench.options.engine)
    experts = "" if formats.own_experts is None else f" (of experts in {formats.experts.value})"
    return (
        f"{engine.title}; weights in {formats.products.value}{experts}, keys and values in "
        f"{formats.cache.value}, head in bfloat16; {format_seconds(engine.request_seconds)} "
        "of the time to first token are from the client to the engine"
    )


def _refusal(
    bench: Bench, cluster: GpuCluster, job: InferenceJob, candidates: Sequence[Plan]
) -> Refusal:
    """Say what does not fit under the roomiest plan, and the smallest cluster that would do."""
    roomiest = max(candidates, key=lambda plan: _room_left(bench, plan, job))
    memory = bench.memory(roomiest)
    kept = _kept(bench, roomiest, job)
    enough = smallest_count(bench, job)
    advice = (
        f"no number of GPUs up to {_MOST_GPUS:,} would do"
        if enough is None
        else f"{cluster.gpu.name}x{enough} would do"
    )
    return Refusal(
        system=cluster.name,
        title=cluster.title,
        reason=(
            f"{roomiest}: each GPU needs {format_size(memory.weight_bytes)} for weights and "
            f"{kept}, and has "
            f"{format_size(memory.gpu.memory_bytes - memory.reserve_bytes)} of "
            f"{format_size(memory.gpu.memory_bytes)} for them; {advice}"
        ),
    )


def _kept(bench: Bench, plan: Plan, job: InferenceJob) -> str:
    """Return in words the bytes that a job needs besides weights, and their purpose."""
    memory = bench.memory(plan)
    if memory.sample_bytes:
        samples = -(-num_sequences(job) // plan.replicas)
        return f"{format_size(samples * memory.sample_bytes)} for feature maps"
    return f"{format_size(bench.tokens_needed(plan, job) * memory.token_bytes)} for keys and values"


def _room_left(bench: Bench, plan: Plan, job: InferenceJob) -> float:
    memory = bench.memory(plan)
    samples = -(-num_sequences(job) // plan.replicas)
    needed = bench.tokens_needed(plan, job) * memory.token_bytes + samples * memory.sample_bytes
    return memory.cache_room_bytes - needed


def smallest_count(bench: Bench, job: InferenceJob) -> int | None:
    """Return the smallest number of GPUs, a power of two, on which a job fits; None if none."""
    count = 1
    while count <= _MOST_GPUS:
        cluster = GpuCluster(bench.gpu, count)
        tried = plans(bench.model.model, cluster, most_replicas=num_sequences(job))
        if any(bench.fits(plan, job) for plan in tried):
            return count
        count *= 2
    return None
