"""Published training runs on GPUs beside ours; the rules are at the heads of their files."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, cast

from onewafer.arch import load_cluster
from onewafer.perf.answer import Refusal
from onewafer.perf.gpt import model_of_figure
from onewafer.perf.gpu.training import TrainingOptions, estimate_training
from onewafer.perf.gpu.training_plan import PinnedPlan
from onewafer.perf.jobs import Precision, Train
from onewafer.perf.kept_activations import Recompute
from onewafer.perf.training_work import AttentionPairs, model_flop_per_token
from onewafer.perf.validation_rows import PerfValidation, Recomputed, recompute

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from onewafer.perf.answer import Answer
    from onewafer.perf.model import Model
    from onewafer.perf.published import PublishedFigure

_TOPICS = ("gpu_training", "gpu_training_experts", "gpu_training_samples")
"""Dense models, those with experts, and those on feature maps."""
_TARGET = 0.1
_RULE = "published plan, batch and sequence; what is not published is what the search takes"
_MOST_TOKENS = 1e12
"""Tokens of the run; rates do not depend on them."""


def validate_training(
    load_model: Callable[[str], Model], progress: Callable[[str], None] | None = None
) -> PerfValidation:
    """Return every published training run with ours; `load_model` loads models of the catalogue."""
    figures = tuple(
        result
        for topic in _TOPICS
        for result in recompute(
            topic,
            lambda figure: _ours(figure, model_of_figure(figure, load_model)),
            target=_TARGET,
            rule=_RULE,
            progress=progress,
        )
    )
    return PerfValidation(figures=figures)


def _ours(figure: PublishedFigure, model: Model) -> Recomputed:
    answer = estimate(figure, model)
    if isinstance(answer, Refusal):
        return Recomputed(ours=None, finding=answer.reason)
    ours = _quantity(answer, figure)
    reason = str(figure.conditions.get("miss", ""))
    return Recomputed(
        ours=ours,
        range=_range(figure, model, ours),
        finding=f"{reason}; {_where(answer)}" if reason else _where(answer),
    )


def estimate(figure: PublishedFigure, model: Model) -> Answer | Refusal:
    """Return our answer for a comparable figure."""
    conditions = figure.conditions
    job = Train(
        tokens=_MOST_TOKENS,
        sequence=cast("int", conditions["sequence"]),
        batch=cast("int", conditions["batch"]),
    )
    options = TrainingOptions(
        precision=Precision(str(conditions["precision"])),
        plan=_plan(conditions),
        attention_pairs=AttentionPairs(str(conditions.get("attention_pairs", AttentionPairs.ALL))),
    )
    return estimate_training(model, job, load_cluster(figure.system), options)


def _range(figure: PublishedFigure, model: Model, ours: float | None) -> tuple[float, float] | None:
    """Return our value under both counts of attention, if the source does not say which it uses."""
    if ours is None or figure.conditions.get("is_count_published", True):
        return None
    sequence = cast("int", figure.conditions["sequence"])
    every, masked = (model_flop_per_token(model, sequence, pairs) for pairs in AttentionPairs)
    return ours * masked / every, ours


def _plan(conditions: Mapping[str, object]) -> PinnedPlan:
    names = (field.name for field in fields(PinnedPlan))
    known = {name: conditions[name] for name in names if name in conditions}
    if "recompute" in known:
        known["recompute"] = Recompute(str(known["recompute"]))
    return PinnedPlan(**known)  # pyright: ignore[reportArgumentType]  # from TOML


def _quantity(answer: Answer, figure: PublishedFigure) -> float | None:
    match figure.quantity:
        case "mfu":
            return answer.mfu
        case "tokens_per_second_per_device":
            return answer.tokens_per_second / answer.num_devices
        case "samples_per_second":
            return answer.tokens_per_second / cast("int", figure.conditions["sequence"])
        case _:
            return None


def _where(answer: Answer) -> str:
    """Return our plan and the largest items of its time, in words."""
    largest = answer.breakdown.largest(lambda item: item.name, 4)
    shares = ", ".join(f"{name} {share:.0%}" for name, share in largest)
    return f"{answer.choice.text}: {shares}"
