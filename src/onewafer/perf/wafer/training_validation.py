"""Published claims about training on wafers beside ours; the rule is at the head of their file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from onewafer.perf.answer import Answer, Refusal
from onewafer.perf.gpt import model_of_figure
from onewafer.perf.jobs import Precision, Train
from onewafer.perf.validation_rows import PerfValidation, Recomputed, recompute
from onewafer.perf.wafer.options import WaferOptions
from onewafer.perf.wafer.system import machine, parse_system
from onewafer.perf.wafer.training import estimate_training

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.perf.model import Model
    from onewafer.perf.published import PublishedFigure
    from onewafer.perf.wafer.system import Wafers

_TOPIC = "wafer_training"
_TARGET = 0.2
_RULE = (
    "usual clock of the wafer, silicon timing, fp16, dense weights, published wafers and batch, "
    "the fastest way to take them"
)


def validate_training(
    load_model: Callable[[str], Model], progress: Callable[[str], None] | None = None
) -> PerfValidation:
    """Return every published claim with ours; `load_model` loads models of the catalogue."""
    figures = recompute(
        _TOPIC,
        lambda figure: _recompute(figure, model_of_figure(figure, load_model)),
        target=_TARGET,
        rule=_RULE,
        progress=progress,
    )
    return PerfValidation(figures=figures)


def _recompute(figure: PublishedFigure, model: Model) -> Recomputed:
    wafers = parse_system(figure.system)
    assert wafers is not None, "figures of wafers name wafers"
    system = machine(wafers, WaferOptions()).system
    usual, finding = _ours(figure, model, wafers, None)
    ends = (
        _ours(figure, model, wafers, clock)[0]
        for clock in (system.slowest_clock_hertz, system.fastest_clock_hertz)
    )
    known = [value for value in ends if value is not None]
    return Recomputed(
        ours=usual, finding=finding, range=(min(known), max(known)) if known else None
    )


def _ours(
    figure: PublishedFigure, model: Model, wafers: Wafers, clock_hertz: float | None
) -> tuple[float | None, str]:
    """Return our figure in the published unit and its origin, or why there is none."""
    answer = _estimate(figure, model, wafers, clock_hertz)
    if isinstance(answer, Refusal):
        return None, answer.reason
    if figure.quantity == "total_seconds":
        return answer.total_seconds, _finding(answer, wafers)
    alone = _estimate(figure, model, replace(wafers, num_wafers=1), clock_hertz)
    if isinstance(alone, Refusal):
        return None, alone.reason
    return answer.tokens_per_second / alone.tokens_per_second, _finding(answer, wafers)


def _estimate(
    figure: PublishedFigure, model: Model, wafers: Wafers, clock_hertz: float | None
) -> Answer | Refusal:
    conditions = figure.conditions
    batch = conditions.get("batch")
    if batch is None:
        batch = cast("int", conditions["batch_per_wafer"]) * wafers.num_wafers
    job = Train(
        tokens=cast("float", conditions.get("tokens", 1e12)),
        sequence=cast("int", conditions["sequence"]),
        batch=cast("int", batch),
    )
    precision = Precision(str(conditions["precision"]))
    options = WaferOptions(precision=precision, clock_hertz=clock_hertz)
    return estimate_training(model, job, wafers, options)


def _finding(answer: Answer, wafers: Wafers) -> str:
    """Return our mapping, its largest items, and the share of the peak that its kernels reach."""
    used = machine(wafers, WaferOptions())
    rate = float(used.architecture.timing.elements_per_cycle["fmachs"])
    largest = answer.breakdown.largest(lambda item: item.name, 3)
    shares = ", ".join(f"{name} {share:.0%}" for name, share in largest)
    return (
        f"{answer.choice.text}: {shares}; the mesh program's kernels add up in fp32, at {rate:g} "
        f"of the {used.system.fp16_products_per_cycle} multiply-adds a cycle and PE that the peak "
        "counts, and layers are computed twice"
    )
