"""Published rates of wafers beside ours, by the rule that `figures/wafer_decode.toml` fixes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onewafer.perf.answer import Refusal
from onewafer.perf.breakdown import Limit
from onewafer.perf.jobs import Decode, Precision
from onewafer.perf.validation_rows import PerfValidation, Recomputed, recompute
from onewafer.perf.wafer.estimate import estimate
from onewafer.perf.wafer.options import WaferOptions
from onewafer.perf.wafer.system import machine, parse_system

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.perf.answer import Answer
    from onewafer.perf.model import Model
    from onewafer.perf.published import PublishedFigure
    from onewafer.perf.wafer.system import Machine, Wafers

TOPIC = "wafer_decode"
TARGET = 0.20
RULE = (
    "usual clock of the wafer, silicon timing, batch 1, 1,000 tokens of context, fp16, the mapping "
    "that the search takes for latency; as many wafers as published, or the fewest that hold the "
    "model"
)
_MOST_WAFERS = 2
"""Largest multiple of the published number of wafers that is tried."""
_NOTE = (
    "wafers: published rates of a service stand beside those of kernels that were not tuned for "
    "these models; in brackets ours at 750 MHz and 1.1 GHz, the range of published clocks"
)


def validate(
    load_model: Callable[[str], Model], progress: Callable[[str], None] | None = None
) -> PerfValidation:
    """Return a row for each published rate; `progress` is told which one is next."""
    figures = recompute(
        TOPIC,
        lambda figure: _compare(figure, load_model(figure.model)),
        target=TARGET,
        rule=RULE,
        progress=progress,
    )
    return PerfValidation(figures=figures, notes=(_NOTE,))


def _compare(figure: PublishedFigure, model: Model) -> Recomputed:
    options = WaferOptions(precision=Precision(str(figure.conditions["precision"])))
    job = Decode(
        batch=int(str(figure.conditions["batch"])), context=int(str(figure.conditions["context"]))
    )
    published = parse_system(figure.system)
    assert published is not None, "figures of wafers name wafers"
    answer = _on_fewest(model, job, published, options)
    if isinstance(answer, Refusal):
        return Recomputed(ours=None, finding=answer.reason)
    used = machine(replace(published, num_wafers=answer.num_devices), options)
    ends = used.system.slowest_clock_hertz, used.system.fastest_clock_hertz
    slowest, fastest = (_rate_at(answer, used, clock) for clock in ends)
    return Recomputed(
        ours=answer.tokens_per_second_per_user,
        range=(slowest, fastest),
        finding=_finding(answer, published),
    )


def _on_fewest(
    model: Model, job: Decode, published: Wafers, options: WaferOptions
) -> Answer | Refusal:
    """Return the answer of as many wafers as published, or of the fewest more that do."""
    answer = estimate(model, job, published, options)
    count = published.num_wafers
    while isinstance(answer, Refusal) and count < _MOST_WAFERS * published.num_wafers:
        count += 1
        answer = estimate(model, job, replace(published, num_wafers=count), options)
    return answer


def _rate_at(answer: Answer, used: Machine, clock_hertz: float) -> float:
    """Return the rate of the same mapping at another clock; times off the wafer stay."""
    outside = answer.breakdown.by(lambda item: item.limit).get(Limit.OFF_WAFER, 0.0)
    inside = answer.breakdown.seconds - outside
    return 1 / (outside + inside * used.clock_hertz / clock_hertz)


def _finding(answer: Answer, published: Wafers) -> str:
    """Return where most of our time goes, and other differences from the published run."""
    largest = answer.breakdown.largest(lambda item: item.limit, 3)
    shares = ", ".join(f"{limit} {share:.0%}" for limit, share in largest)
    finding = (
        f"{answer.choice.text}. Our token waits for {shares}: sums go along chains from PE to PE, "
        "and much of the rest sets up vectors of a few dozen numbers. "
        "Theirs are kernels of a product, whose collectives are not published"
    )
    if answer.num_devices > published.num_wafers:
        other = answer.memory.other_bytes / answer.memory.used_bytes
        finding += (
            f". On {answer.num_devices} wafers instead of {published.num_wafers}: code and buffers "
            f"of our kernels take {other:.0%} of the memory in use"
        )
    return finding
