"""Published throughput of GPUs beside ours: serving, and passes over samples.

The rules are at the heads of the files of figures.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from onewafer.arch import load_cluster
from onewafer.perf.answer import Refusal
from onewafer.perf.gpu.aiconfigurator import is_installed
from onewafer.perf.gpu.estimate import bench_of, estimate
from onewafer.perf.gpu.options import GpuOptions
from onewafer.perf.gpu.plan import Plan
from onewafer.perf.jobs import Forward, Goal, Precision, Serve
from onewafer.perf.validation_rows import PerfValidation, Recomputed, recompute

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from onewafer.perf.model import Model
    from onewafer.perf.published import PublishedFigure
    from onewafer.perf.validation_rows import FigureResult

_TARGET = 0.2
_SERVING_RULE = "as many requests as the cache has room for, at most 2,048, in steady state"
_SAMPLES_RULE = "2,048 samples a GPU, each with the whole model; fp8 in the place of int8"
_MOST_REQUESTS = 2048
_NO_TABLES = (
    "passes over samples on GPUs are not validated: the package aiconfigurator-core is not "
    'installed (`pip install "onewafer[gpu]"`)'
)


def figure_results(
    load_model: Callable[[str], Model], progress: Callable[[str], None] | None = None
) -> tuple[FigureResult, ...]:
    """Return every figure of serving with ours; `load_model` loads models of the catalogue."""
    return recompute(
        "gpu_inference",
        lambda figure: _served(figure, load_model(figure.model)),
        target=_TARGET,
        rule=_SERVING_RULE,
        progress=progress,
    )


def _served(figure: PublishedFigure, model: Model) -> Recomputed:
    cluster = load_cluster(figure.system)
    options = _options(figure.conditions)
    job = Serve(
        concurrency=1,
        prompt=cast("int", figure.conditions["prompt"]),
        answer=cast("int", figure.conditions["answer"]),
    )
    assert options.plan is not None
    room = bench_of(model, cluster.gpu, options).load(options.plan, job).slots
    requests = max(1, min(_MOST_REQUESTS, int(room)))
    answer = estimate(model, replace(job, concurrency=requests), cluster, options)
    if isinstance(answer, Refusal):
        return Recomputed(ours=None, finding=answer.reason)
    finding = f"{requests:,} requests at a time"
    return Recomputed(ours=answer.tokens_per_second, finding=finding)


def _options(conditions: Mapping[str, object]) -> GpuOptions:
    return GpuOptions(
        precision=Precision(str(conditions["precision"])),
        engine=str(conditions["engine"]),
        plan=Plan(tensor=cast("int", conditions["tensor"])),
    )


def validate_samples(
    load_model: Callable[[str], Model], progress: Callable[[str], None] | None = None
) -> PerfValidation:
    """Return every figure of samples with ours; `load_model` loads models of the catalogue.

    Without the tables of measured kernels there is a note and no row.
    """
    if not is_installed():
        return PerfValidation(notes=(_NO_TABLES,))
    return PerfValidation(
        figures=recompute(
            "gpu_samples",
            lambda figure: _passed(figure, load_model(figure.model)),
            target=_TARGET,
            rule=_SAMPLES_RULE,
            progress=progress,
        )
    )


def _passed(figure: PublishedFigure, model: Model) -> Recomputed:
    job = Forward(batch=cast("int", figure.conditions["batch"]))
    options = GpuOptions(precision=Precision.FP8, goal=Goal.THROUGHPUT)
    answer = estimate(model, job, figure.system, options)
    if isinstance(answer, Refusal):
        return Recomputed(ours=None, finding=answer.reason)
    assert model.fixed_tokens is not None, "of a sample; the job was checked"
    rate = answer.tokens_per_second / model.fixed_tokens
    return Recomputed(ours=rate, finding=f"{job.batch:,} samples in a pass")
