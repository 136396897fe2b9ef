"""The job that the arguments of a comparison ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.api.comparison_options import JobKind
from onewafer.options import OptionError
from onewafer.perf import MOST_AT_A_TIME, Decode, Forward, Prefill, Serve, Train

if TYPE_CHECKING:
    from onewafer.api.comparison_options import JobOptions
    from onewafer.perf import Job, Model

USUAL_CONTEXT = 4_096
"""Tokens of a sequence or a prompt, if the model takes as many."""
USUAL_PROMPT, USUAL_ANSWER = 1_024, 1_024
USUAL_CONCURRENCIES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Points of the curve of serving."""
USUAL_TOKENS_PER_STEP = 1 << 24
"""Tokens of a training step: 16 M as for Llama 3 405B (arXiv 2407.21783, table 4)."""
TOKENS_PER_WEIGHT = 20
"""Tokens of a training run for each weight: Hoffmann et al., arXiv 2203.15556."""


def build_jobs(asked: JobOptions, model: Model) -> tuple[Job, ...]:
    """Return the job, or the points of a serving curve, with defaults filled in.

    Without a kind of job, a model that generates tokens decodes, and any other does one pass.

    Raises:
        ConfigurationError: fewer tokens than a training step has.
    """
    most = model.max_context or USUAL_CONTEXT
    usual = model.fixed_tokens or min(USUAL_CONTEXT, most)
    batch = _first(asked.batch, model.samples)
    match asked.job or (JobKind.DECODE if model.cached_features else JobKind.PREFILL):
        case JobKind.DECODE:
            return (Decode(batch=batch, context=_first(asked.context, usual)),)
        case JobKind.PREFILL:
            if model.fixed_tokens is not None and asked.context is None:
                return (Forward(batch=batch),)
            return (Prefill(batch=batch, tokens=_first(asked.context, usual)),)
        case JobKind.SERVE:
            points = USUAL_CONCURRENCIES if asked.concurrency is None else (asked.concurrency,)
            prompt = _first(asked.prompt, min(USUAL_PROMPT, max(1, most // 2)))
            answer = _first(asked.answer, min(USUAL_ANSWER, max(1, most - prompt)))
            return tuple(Serve(concurrency=n, prompt=prompt, answer=answer) for n in points)
        case JobKind.TRAIN:
            return (_training(asked, _first(asked.sequence, usual), model),)


def _training(asked: JobOptions, sequence: int, model: Model) -> Train:
    batch = _first(asked.batch, _usual_batch(sequence))
    tokens = TOKENS_PER_WEIGHT * model.num_weights if asked.tokens is None else asked.tokens
    job = Train(tokens=tokens, sequence=sequence, batch=batch)
    if asked.tokens is not None and tokens < job.tokens_per_step:
        raise OptionError(
            lambda spelling: (
                f"{spelling.name('tokens')} {tokens:g} is less than a step has, "
                f"{job.tokens_per_step:,} tokens in {batch:,} sequences; write more, or a smaller "
                f"{spelling.name('batch')}"
            )
        )
    return job


def _usual_batch(sequence: int) -> int:
    """Return the sequences of a step, a power of two, which replicas of any number share evenly."""
    whole = min(USUAL_TOKENS_PER_STEP // max(1, sequence), MOST_AT_A_TIME)
    return 1 << max(0, whole.bit_length() - 1)


def _first(said: int | None, usual: int) -> int:
    return usual if said is None else said


def split_systems(*texts: str) -> tuple[str, ...]:
    """Return the names in lists separated by commas, each once, in the order of appearance.

    >>> split_systems("cs3", "h100x8, b200x8,cs3")
    ('cs3', 'h100x8', 'b200x8')
    """
    names = [name.strip() for text in texts for name in text.split(",")]
    return tuple(dict.fromkeys(name for name in names if name))
