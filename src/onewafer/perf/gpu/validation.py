"""Errors over measured serving runs that no constant was fitted on.

Every aggregated run of the models below on the GPUs below is computed under its own plan, engine,
formats and load; runs of the calibration fifth are left out, and disaggregated runs are only
counted. `conditions.toml` has the conditions of runs that their rows do not state.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from statistics import fmean, median
from typing import TYPE_CHECKING, cast

from onewafer.arch import gpu_names, load_gpu
from onewafer.perf.gpu.aiconfigurator import AiconfiguratorTables, is_installed
from onewafer.perf.gpu.clock import KernelClock
from onewafer.perf.gpu.engine import load_engine
from onewafer.perf.gpu.figures import figure_results
from onewafer.perf.gpu.kernels import NumberFormat
from onewafer.perf.gpu.memory import memory_of_gpu
from onewafer.perf.gpu.plan import Plan
from onewafer.perf.gpu.serving import EngineClock, Load
from onewafer.perf.gpu.serving_points import aggregated_points, count_disaggregated_points
from onewafer.perf.gpu.steps import Formats, ShardedModel, StepClock
from onewafer.perf.validation_rows import ErrorStatistics, PerfValidation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from onewafer.arch import Gpu
    from onewafer.perf.gpu.engine import Engine
    from onewafer.perf.gpu.serving import RequestTimes
    from onewafer.perf.gpu.serving_points import ServingPoint
    from onewafer.perf.model import Model

CATALOG_NAMES = {
    "meta-llama/Llama-3.1-8B-Instruct": "llama-3.1-8b",
    "nvidia/Llama-3.1-8B-Instruct-FP8": "llama-3.1-8b",
    "meta-llama/Llama-3.1-70B": "llama-3.1-70b",
    "Qwen/Qwen3-32B": "qwen3-32b",
    "nvidia/Qwen3-32B-NVFP4": "qwen3-32b",
    "Qwen/Qwen3-235B-A22B-FP8": "qwen3-235b-a22b",
}
"""Name on the hub → name in the catalogue of models."""
_MOST_TENSOR = 8
"""Runs with larger groups, which span several domains, are left out."""
_TPOT_TARGET = 0.12
_TTFT_TARGET = 0.30


@dataclass(frozen=True, slots=True)
class PointResult:
    """One run, and what the equations say."""

    point: ServingPoint
    model: str
    """Name in the catalogue."""
    times: RequestTimes

    @property
    def tpot_error(self) -> float:
        """(ours − theirs) / theirs."""
        return self.times.tpot_seconds / self.point.tpot_seconds - 1

    @property
    def ttft_error(self) -> float:
        """(ours − theirs) / theirs."""
        return self.times.ttft_seconds / self.point.ttft_seconds - 1

    @property
    def group(self) -> str:
        """The group's name: `h100 · vllm · qwen3-32b · fp8`."""
        formats = self.point.quantization or "bf16"
        return f"{_gpu_name(self.point)} · {self.point.engine} · {self.model} · {formats}"


def validate(
    load_model: Callable[[str], Model], progress: Callable[[str], None] | None = None
) -> PerfValidation:
    """Return the errors by GPU, engine, model and format, over runs that nothing was fitted on.

    `load_model` returns a model of the catalogue. Without the tables there is a note and no row.
    """
    if not is_installed():
        return PerfValidation(notes=(_NO_TABLES,))
    points = [point for point in aggregated_points() if _is_wanted(point)]
    held_out = [point for point in points if not point.is_calibration]
    results = point_results(held_out, load_model, progress)
    scope = (
        f"serving on GPUs: {len(held_out)} runs of aiconfigurator-core, which are {len(points)} "
        f"less the calibration fifth. Left out: {len(held_out) - len(results)} of them, whose rows "
        "name too few GPUs for the weights; runs over several domains or with requests dealt out "
        f"to attention; {count_disaggregated_points()} runs with GPUs for prefill alone (of all "
        "models)"
    )
    return PerfValidation(
        figures=figure_results(load_model, progress),
        statistics=tuple(statistics(results)),
        notes=(scope, *_FINDINGS),
    )


def point_results(
    points: Iterable[ServingPoint],
    load_model: Callable[[str], Model],
    progress: Callable[[str], None] | None = None,
) -> list[PointResult]:
    """Return our figures for runs of known models.

    Runs whose row names a plan that has no room for the weights are left out.
    """
    machines = _Machines()
    models: dict[str, ShardedModel] = {}
    results: list[PointResult] = []
    for point in points:
        name = CATALOG_NAMES[point.model]
        if name not in models:
            if progress is not None:
                progress(f"serving runs of {name}")
            models[name] = ShardedModel(load_model(name))
        times = machines.times(point, models[name])
        if times is not None:
            results.append(PointResult(point, name, times))
    return results


def statistics(results: Sequence[PointResult]) -> Iterable[ErrorStatistics]:
    """Return errors of both times by group, then over all."""
    groups: dict[str, list[PointResult]] = {}
    for result in results:
        groups.setdefault(result.group, []).append(result)
    for name, members in [*sorted(groups.items()), ("all serving runs", results)]:
        if members:
            tpot = [member.tpot_error for member in members]
            ttft = [member.ttft_error for member in members]
            yield _row(name, "tpot_seconds", tpot, _TPOT_TARGET)
            yield _row(name, "ttft_seconds", ttft, _TTFT_TARGET)


def _row(group: str, quantity: str, errors: list[float], target: float) -> ErrorStatistics:
    sizes = [abs(error) for error in errors]
    return ErrorStatistics(
        group=group,
        quantity=quantity,
        num_points=len(errors),
        mean_error=fmean(sizes),
        median_error=median(sizes),
        bias=median(errors),
        target=target,
    )


_PRODUCTS = {
    "": NumberFormat.BF16,
    "bfloat16": NumberFormat.BF16,
    "fp8": NumberFormat.FP8,
    "fp8_block": NumberFormat.FP8_BLOCK,
    "nvfp4": NumberFormat.FP4,
}
_NARROW = (NumberFormat.FP8, NumberFormat.FP8_DYNAMIC, NumberFormat.FP4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Conditions of the runs of an origin, an engine and a GPU; an empty field matches all."""

    waves: float
    """Total requests of the run ÷ requests kept open."""
    source: str
    origin: str = ""
    """Prefix of the run's origin."""
    model: str = ""
    engine: str = ""
    gpu: str = ""
    length_share: float = 1.0
    """Mean ÷ nominal length of prompts and answers."""
    closed_slots: int = 0
    """Slots of the batch that the engine did not use."""
    cache: str = ""
    """Format of keys and values; empty: the usual one of the weights."""
    quantization: str = ""
    """Format of the products with weights, as the rows name it."""
    known_share: float = 0.0
    """The share of each prompt that was in the cache already."""
    has_block_scales: bool = False
    """True if fp8 weights have one scale for 128 × 128 weights, whatever the row says."""
    has_dynamic_scales: bool = False
    """True if fp8 products compute the scale of their rows at run time."""

    def fits(self, point: ServingPoint) -> bool:
        """Tell whether a run matches these conditions."""
        return (
            point.origin.startswith(self.origin)
            and self.model in ("", point.model)
            and self.engine in ("", point.engine)
            and self.gpu in ("", point.gpu)
            and self.quantization in ("", point.quantization)
        )

    def formats(self, point: ServingPoint) -> Formats:
        """Return the formats of weights and of the KV cache of a run."""
        products = _PRODUCTS[point.quantization]
        if products is NumberFormat.FP8 and self.has_dynamic_scales:
            products = NumberFormat.FP8_DYNAMIC
        if products is NumberFormat.FP8 and self.has_block_scales:
            products = NumberFormat.FP8_BLOCK
        usual = NumberFormat.FP8 if products in _NARROW else NumberFormat.BF16
        cache = NumberFormat(self.cache) if self.cache else usual
        return Formats(products=products, cache=cache)


@lru_cache
def all_conditions() -> tuple[Conditions, ...]:
    """Return the conditions, in the order in which they are tried."""
    text = resources.files("onewafer.perf.gpu").joinpath("conditions.toml").read_text("utf-8")
    entries = cast("list[dict[str, object]]", tomllib.loads(text)["condition"])
    return tuple(Conditions(**entry) for entry in entries)  # pyright: ignore[reportArgumentType]  # from TOML


def conditions_of(point: ServingPoint) -> Conditions:
    """Return the conditions of a run."""
    return next(conditions for conditions in all_conditions() if conditions.fits(point))


class _Machines:
    """Clocks of kernels, one for each GPU and engine, so that tables are read once."""

    def __init__(self) -> None:
        self._clocks: dict[tuple[str, str], KernelClock] = {}

    def times(self, point: ServingPoint, model: ShardedModel) -> RequestTimes | None:
        """Return what the equations say of a run; None if its plan has no room for the weights."""
        conditions = conditions_of(point)
        gpu, engine = load_gpu(_gpu_name(point)), load_engine(point.engine)
        plan = Plan(
            tensor=point.tensor_parallel,
            expert=point.expert_parallel,
            pipeline=point.pipeline_parallel,
        )
        formats = conditions.formats(point)
        clock = EngineClock(engine, StepClock(model, plan, formats, self._clock(gpu, engine)))
        prompt = round(point.prompt * conditions.length_share)
        answer = round(point.answer * conditions.length_share)
        held = prompt + (answer if engine.reserves_answers else answer / 2)
        memory = memory_of_gpu(model, gpu, engine, plan=plan, formats=formats)
        if not memory.fits(0):
            return None
        slots = min(point.batch - conditions.closed_slots, memory.num_cached_tokens() / held)
        return clock.serve(
            Load(
                open_requests=point.batch,
                prompt=prompt,
                answer=answer,
                slots=slots,
                known_tokens=min(prompt - 1, round(prompt * conditions.known_share)),
                waves=conditions.waves,
            )
        )

    def _clock(self, gpu: Gpu, engine: Engine) -> KernelClock:
        key = (gpu.name, engine.name)
        if key not in self._clocks:
            tables = AiconfiguratorTables(gpu.measurements, engine.name, engine.fuses_conversion)
            self._clocks[key] = KernelClock(gpu, tables)
        return self._clocks[key]


def _is_wanted(point: ServingPoint) -> bool:
    is_known = point.model in CATALOG_NAMES and _gpu_name(point) in gpu_names()
    return is_known and point.attention_data_parallel == 1 and point.tensor_parallel <= _MOST_TENSOR


def _gpu_name(point: ServingPoint) -> str:
    return point.gpu.removesuffix("_sxm")


_NO_TABLES = (
    "serving on GPUs is not validated: the package aiconfigurator-core is not installed "
    '(`pip install "onewafer[gpu]"`)'
)
_FINDINGS = (
    (
        "gb200 · trtllm · qwen3-32b · bf16 misses: in its runs 8 requests take three to six times "
        "as long for a token as one request, and 16 take longer than 32; the GPU was not the limit"
    ),
    (
        "gb200 · trtllm · qwen3-32b · nvfp4 and h100 · vllm · qwen3-32b · fp8: the batch of a "
        "replica is all that their rows state of the load"
    ),
    (
        "h200 · vllm · llama-3.1-8b · fp8 has prompts that were mostly in the cache: computing "
        "them would have taken 96 % of the card's dense peak beside decoding; the share, 0.9, is "
        "inferred from the calibration fifth"
    ),
    (
        "h200 · qwen3-235b-a22b: how vLLM and SGLang shared the experts is not in the rows; "
        "TensorRT-LLM's rows state it. No constant was fitted on a run with experts, but their "
        "conditions (block scales, no request waits) were written when all errors had been seen"
    ),
    (
        "lengths, waves and waiting requests of a run, where no row says them, are in "
        "perf/gpu/conditions.toml with their source"
    ),
)
