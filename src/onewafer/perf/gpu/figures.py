"""Published throughput of serving on GPUs beside ours; the rule is at the head of their file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from onewafer.arch import load_cluster
from onewafer.perf.answer import Refusal
from onewafer.perf.gpu.estimate import bench_of, estimate
from onewafer.perf.gpu.options import GpuOptions
from onewafer.perf.gpu.plan import Plan
from onewafer.perf.jobs import Precision, Serve
from onewafer.perf.validation_rows import Recomputed, recompute

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from onewafer.perf.model import Model
    from onewafer.perf.published import PublishedFigure
    from onewafer.perf.validation_rows import FigureResult

_TOPIC = "gpu_inference"
_TARGET = 0.2
_RULE = "as many requests as the cache has room for, at most 2,048, in steady state"
_MOST_REQUESTS = 2048


def figure_results(
    load_model: Callable[[str], Model], progress: Callable[[str], None] | None = None
) -> tuple[FigureResult, ...]:
    """Return every published figure with ours; `load_model` loads models of the catalogue."""
    return recompute(
        _TOPIC,
        lambda figure: _ours(figure, load_model(figure.model)),
        target=_TARGET,
        rule=_RULE,
        progress=progress,
    )


def _ours(figure: PublishedFigure, model: Model) -> Recomputed:
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
