"""Published throughput of passes over samples, and ours; the rule is at the head of their file."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from onewafer.perf.answer import Refusal
from onewafer.perf.gpu.aiconfigurator import is_installed
from onewafer.perf.gpu.estimate import estimate
from onewafer.perf.gpu.options import GpuOptions
from onewafer.perf.jobs import Forward, Goal, Precision
from onewafer.perf.validation_rows import PerfValidation, Recomputed, recompute

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.perf.model import Model
    from onewafer.perf.published import PublishedFigure

_TOPIC = "gpu_samples"
_TARGET = 0.2
_NO_TABLES = (
    "passes over samples on GPUs are not validated: the package aiconfigurator-core is not "
    'installed (`pip install "onewafer[gpu]"`)'
)
_RULE = "2,048 samples a GPU, each with the whole model; fp8 in the place of int8"


def validate_samples(
    load_model: Callable[[str], Model], progress: Callable[[str], None] | None = None
) -> PerfValidation:
    """Return every published figure with ours; `load_model` loads models of the catalogue.

    Without the tables of measured kernels there is a note and no row.
    """
    if not is_installed():
        return PerfValidation(notes=(_NO_TABLES,))
    return PerfValidation(
        figures=recompute(
            _TOPIC,
            lambda figure: _ours(figure, load_model(figure.model)),
            target=_TARGET,
            rule=_RULE,
            progress=progress,
        )
    )


def _ours(figure: PublishedFigure, model: Model) -> Recomputed:
    job = Forward(batch=cast("int", figure.conditions["batch"]))
    options = GpuOptions(precision=Precision.FP8, goal=Goal.THROUGHPUT)
    answer = estimate(model, job, figure.system, options)
    if isinstance(answer, Refusal):
        return Recomputed(ours=None, finding=answer.reason)
    assert model.fixed_tokens is not None, "of a sample; the job was checked"
    rate = answer.tokens_per_second / model.fixed_tokens
    return Recomputed(ours=rate, finding=f"{job.batch:,} samples in a pass")
