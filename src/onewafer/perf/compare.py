"""One job of one model on several systems, each by the equations of its family."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

from onewafer.arch import find_cluster, gpu_names, wafer_system_names
from onewafer.errors import ConfigurationError
from onewafer.perf import gpu, wafer
from onewafer.perf.answer import Answer, Comparison, Refusal
from onewafer.perf.checks import as_rows, as_samples, check_job
from onewafer.perf.gpu.engine import load_engine
from onewafer.perf.gpu.served import serve_on_gpus
from onewafer.perf.jobs import Forward, Precision, Prefill, Train
from onewafer.perf.published import PublishedFigure, published_figures, topics
from onewafer.perf.wafer.served import serve_on_wafers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from onewafer.arch import Gpu, GpuCluster
    from onewafer.perf.answer import Memory
    from onewafer.perf.groups import Groups
    from onewafer.perf.jobs import Job
    from onewafer.perf.launches import ServedSystem
    from onewafer.perf.model import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareOptions:
    """The user's options; what is left out is searched for or has its usual value."""

    wafer: wafer.WaferOptions = field(default_factory=wafer.WaferOptions)
    gpu: gpu.GpuOptions = field(default_factory=gpu.GpuOptions)
    """Options of inference; training takes precision and profile from them."""
    groups: Groups | None = None
    """Sizes of the groups of GPUs; None: searched for."""
    prices: Mapping[str, float] = field(default_factory=dict[str, float])
    """Price of one device (`cs3`, `h100`) for an hour, in the user's currency."""


def compare(
    model: Model,
    job: Job,
    systems: Sequence[str],
    options: CompareOptions | None = None,
    *,
    progress: Callable[[str], None] | None = None,
    programs: wafer.Programs | None = None,
) -> Comparison:
    """Return what a job takes on each system, named as in `cs3`, `cs3x4`, `h100x8`.

    `progress` is told the name of each system before it is asked. Pass the same `programs` for
    several jobs of a model: they cache what jobs share.

    Raises ConfigurationError for a name that is no system, for a price of a device that no system
    has, and for a job that the model cannot do. A system that is too small is no error: its result
    is a `Refusal`.
    """
    chosen = options or CompareOptions()
    check_job(model, job)
    job = as_samples(model, job)
    devices = {name: device_of(name) for name in systems}
    if foreign := sorted({*chosen.prices} - {*devices.values()}):
        raise ConfigurationError(
            f"there is a price for {foreign[0]}, which no system here has; write that of one "
            f"device: {', '.join(sorted({*devices.values()}))}"
        )
    _check_pins(job, chosen.wafer)
    _check_profile(chosen.gpu.profile, systems)
    _check_clusters(job, chosen, systems)
    programs = wafer.Programs() if programs is None else programs
    results: list[Answer | Refusal] = []
    for name in systems:
        if progress is not None:
            progress(name)
        results.append(_result(model, job, name, chosen, programs))
    return Comparison(model=model.name, job=job, results=tuple(results))


def device_of(system: str) -> str:
    """Return the name of one device of a system.

    Raises ConfigurationError, with the nearest names, if there is no such system.

    >>> device_of("h100x8"), device_of("cs3")
    ('h100', 'cs3')
    """
    if (wafers := wafer.parse_system(system)) is not None:
        return wafers.system.name
    if (cluster := find_cluster(system)) is not None:
        return cluster.gpu.name
    names = (*wafer_system_names(), *gpu_names())
    kind, _, count = system.strip().lower().partition("x")
    nearest = get_close_matches(kind, names, n=2, cutoff=0.5)
    number = f"x{count}" if count.isdigit() and int(count) else ""
    hint = f"; nearest: {', '.join(name + number for name in nearest)}" if nearest else ""
    if kind in names:
        hint = f"; write how many after the x, at least 1: {kind}x8"
    raise ConfigurationError(
        f"there is no system {system!r}{hint}. Systems are {', '.join(names)}, several of a kind "
        "with x and their number, as in h100x8"
    )


def _result(
    model: Model, job: Job, name: str, options: CompareOptions, programs: wafer.Programs
) -> Answer | Refusal:
    result = _estimate(model, as_rows(model, job), name, options, programs)
    if isinstance(result, Refusal):
        return result
    device = device_of(name)
    price = options.prices.get(device)
    is_read_only = isinstance(job, Forward | Prefill) and not model.cached_features
    return replace(
        result,
        job=job,
        ttft_seconds=None if is_read_only else result.ttft_seconds,
        pass_seconds=result.ttft_seconds if is_read_only else None,
        tokens_per_sample=model.fixed_tokens if isinstance(job, Forward) else None,
        memory=_within_context(result.memory, model),
        published=_published(model, job, device),
        price_per_hour=None if price is None else price * result.num_devices,
    )


def _within_context(memory: Memory, model: Model) -> Memory:
    """Cap the longest context at the longest that the model was trained for."""
    longest, most = memory.longest_context, model.max_context
    if longest is None or most is None:
        return memory
    return replace(memory, longest_context=min(longest, most))


def _estimate(
    model: Model, job: Job, name: str, options: CompareOptions, programs: wafer.Programs
) -> Answer | Refusal:
    if (wafers := wafer.parse_system(name)) is not None:
        if isinstance(job, Train):
            return wafer.estimate_training(model, job, wafers, options.wafer)
        result = wafer.estimate(model, job, wafers, options.wafer, programs=programs)
        return _with_formats(result, options)
    cluster = find_cluster(name)
    assert cluster is not None, "names are checked before"
    groups = options.groups
    if isinstance(job, Train):
        chosen = _for_gpu(options.gpu, cluster.gpu)
        pinned = gpu.TrainingOptions(
            precision=chosen.precision,
            plan=gpu.PinnedPlan() if groups is None else groups.training_plan(),
        )
        profile = chosen.profile
        clock = None if profile is None else gpu.profiled_clock(cluster.gpu, profile)
        return gpu.estimate_training(model, job, cluster, pinned, clock=clock)
    return gpu.estimate(model, job, cluster, options_for_gpu(options, cluster))


def options_for_gpu(options: CompareOptions, cluster: GpuCluster) -> gpu.GpuOptions:
    """Return the options of inference on a cluster, its plan taken from the user's groups."""
    groups = options.groups
    plan = None if groups is None else groups.inference_plan(cluster)
    return replace(_for_gpu(options.gpu, cluster.gpu), plan=plan)


def _with_formats(result: Answer | Refusal, options: CompareOptions) -> Answer | Refusal:
    """Add a note on weights that GPUs hold in a narrower format than the wafer."""
    on_gpus, on_wafers = options.gpu.precision, options.wafer.precision
    if isinstance(result, Refusal) or on_gpus.num_bytes >= Precision.FP16.num_bytes:
        return result
    note = (
        f"weights that GPUs have in {on_gpus} are unpacked when they are loaded, and held in "
        f"{on_wafers}: a wafer has no arithmetic for {on_gpus}, and no kernel unpacks as it goes"
    )
    return replace(result, notes=(*result.notes, note))


def _for_gpu(options: gpu.GpuOptions, device: Gpu) -> gpu.GpuOptions:
    """Drop the profile if it was measured on another kind of GPU."""
    profile = options.profile
    return options if profile is None or profile.is_of(device) else replace(options, profile=None)


def _check_pins(job: Job, options: wafer.WaferOptions) -> None:
    """Refuse a pinned mode or region in training, where a wafer has no choice of either."""
    pins = {"mode": options.mode, "region": options.region}
    pinned = [name for name, value in pins.items() if value is not None]
    if isinstance(job, Train) and pinned:
        raise ConfigurationError(
            f"the {pinned[0]} of a wafer is a choice of inference; training streams the weights "
            "and takes the fastest strips of PEs: leave it out"
        )


def _check_profile(profile: gpu.Profile | None, systems: Sequence[str]) -> None:
    clusters = [found for name in systems if (found := find_cluster(name)) is not None]
    if profile is not None and not any(profile.is_of(cluster.gpu) for cluster in clusters):
        raise ConfigurationError(
            f"the profile is of {profile.device}, which no system here has; they are: "
            f"{', '.join(systems)}"
        )


def _check_clusters(job: Job, options: CompareOptions, systems: Sequence[str]) -> None:
    """Refuse an unknown engine, and groups that need more GPUs than a cluster has."""
    load_engine(options.gpu.engine)
    if options.groups is None:
        return
    for cluster in filter(None, map(find_cluster, systems)):
        if isinstance(job, Train):
            options.groups.training_plan()
        else:
            options.groups.inference_plan(cluster)


def _published(model: Model, job: Job, device: str) -> tuple[PublishedFigure, ...]:
    """Return published figures of the model, kind of job and device, for any number of devices."""
    kind = type(job).__name__.lower()
    return tuple(
        figure
        for topic in topics()
        for figure in published_figures(topic)
        if figure.model == model.name
        and figure.conditions.get("job") == kind
        # Checked before the system: an incomparable figure may be of a system in no catalogue.
        and figure.conditions.get("is_comparable", True)
        and device_of(figure.system) == device
    )


def serve_on(
    model: Model,
    system: str,
    *,
    sequences: int,
    context: int,
    options: CompareOptions | None = None,
) -> ServedSystem:
    """Return a model on a system, named as in `cs3`, `cs3x6`, `h100x8`.

    `sequences` may run at a time, over all replicas; wafers without room for all run fewer.
    `context` is the most tokens of a sequence.

    Raises:
        ConfigurationError: there is no such system, or the model does not fit.
    """
    options = options or CompareOptions()
    device_of(system)
    if (wafers := wafer.parse_system(system)) is not None:
        return serve_on_wafers(model, wafers, options.wafer, sequences=sequences, context=context)
    cluster = find_cluster(system)
    assert cluster is not None, "names are checked before"
    return serve_on_gpus(
        model,
        cluster,
        options_for_gpu(options, cluster),
        sequences=sequences,
        context=context,
    )
