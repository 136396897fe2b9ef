"""Published claims about training on wafers beside ours; the rule is at the head of their file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from onewafer.perf.answer import Answer, Refusal
from onewafer.perf.gpt import GptShape, gpt_model
from onewafer.perf.jobs import Precision, Train
from onewafer.perf.published import published_figures
from onewafer.perf.validation_rows import FigureResult, PerfValidation
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
_SIZES = ("layers", "hidden", "heads", "vocabulary")


def validate_training(
    load_model: Callable[[str], Model], progress: Callable[[str], None] | None = None
) -> PerfValidation:
    """Return every published claim with ours; `load_model` loads models of the catalogue."""
    results: list[FigureResult] = []
    for figure in published_figures(_TOPIC):
        if progress is not None:
            progress(figure.name)
        results.append(_result(figure, load_model))
    return PerfValidation(figures=tuple(results))


def _result(figure: PublishedFigure, load_model: Callable[[str], Model]) -> FigureResult:
    blank = FigureResult(figure=figure, ours=None, target=_TARGET, rule=_RULE, finding=figure.note)
    model = _model(figure, load_model)
    wafers = parse_system(figure.system)
    assert wafers is not None, "figures of wafers name wafers"
    system = machine(wafers, WaferOptions()).system
    clocks = (None, system.slowest_clock_hertz, system.fastest_clock_hertz)
    found = [_ours(figure, model, wafers, clock) for clock in clocks]
    usual, slowest, fastest = (value for value, _ in found)
    blank = replace(blank, ours=usual, finding=found[0][1])
    if slowest is None or fastest is None:
        return blank
    return replace(blank, range=(min(slowest, fastest), max(slowest, fastest)))


def _ours(
    figure: PublishedFigure, model: Model, wafers: Wafers, clock_hertz: float | None
) -> tuple[float | None, str]:
    """Return ours in the figure's unit and where it comes from, or why there is none."""
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


def _model(figure: PublishedFigure, load_model: Callable[[str], Model]) -> Model:
    if "layers" not in figure.conditions:
        return load_model(figure.model)
    known = {name: cast("int", figure.conditions[name]) for name in _SIZES}
    positions = cast("int", figure.conditions["sequence"])
    return gpt_model(figure.model, GptShape(**known, positions=positions), source=figure.source)


def _finding(answer: Answer, wafers: Wafers) -> str:
    """Say how ours was taken, where its time goes, and what of the peak its kernels reach."""
    used = machine(wafers, WaferOptions())
    rate = float(used.architecture.timing.elements_per_cycle["fmachs"])
    items = answer.breakdown.by(lambda item: item.name)
    largest = sorted(items, key=lambda name: items[name], reverse=True)[:3]
    shares = ", ".join(f"{name} {items[name] / answer.breakdown.seconds:.0%}" for name in largest)
    return (
        f"{answer.choice.text}: {shares}; the mesh program's kernels add up in fp32, at {rate:g} "
        f"of the {used.system.fp16_products_per_cycle} multiply-adds a cycle and PE that the peak "
        f"counts, and layers are computed twice; {answer.notes[1].partition('; ')[2]}"
    )
