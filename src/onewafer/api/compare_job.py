"""The job that the arguments of a comparison ask for."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from onewafer.api.arguments import as_argument
from onewafer.errors import ConfigurationError
from onewafer.perf import MOST_AT_A_TIME, Decode, Forward, Prefill, Serve, Train

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.api.arguments import Naming
    from onewafer.perf import Job, Model

_Choice = TypeVar("_Choice")

USUAL_CONTEXT = 4_096
"""Tokens of a sequence or a prompt, if the model takes as many."""
USUAL_PROMPT, USUAL_ANSWER = 1_024, 1_024
USUAL_CONCURRENCIES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Points of the curve of serving."""
USUAL_TOKENS_PER_STEP = 1 << 24
"""Tokens of a training step: 16 M as for Llama 3 405B (arXiv 2407.21783, table 4)."""
TOKENS_PER_WEIGHT = 20
"""Tokens of a training run for each weight: Hoffmann et al., arXiv 2203.15556."""


class JobKind(StrEnum):
    """The flags of jobs, without their dashes."""

    DECODE = "decode"
    PREFILL = "prefill"
    SERVE = "serve"
    TRAIN = "train"


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """The options of a job as the user gave them; None: not given."""

    batch: int | None = None
    context: int | None = None
    concurrency: int | None = None
    prompt: int | None = None
    answer: int | None = None
    tokens: float | None = None
    sequence: int | None = None


_NUMBERS_OF = {
    JobKind.DECODE: ("batch", "context"),
    JobKind.PREFILL: ("batch", "context"),
    JobKind.SERVE: ("concurrency", "prompt", "answer"),
    JobKind.TRAIN: ("batch", "tokens", "sequence"),
}


def parse_job(name: str | None) -> JobKind:
    """Return the kind of job with a name; None means decode, the job of most models.

    Raises ConfigurationError, with all names, if there is none.
    """
    kinds = {str(kind): kind for kind in JobKind}
    return JobKind.DECODE if name is None else choose("job", name, kinds)


def usual_kind(model: Model) -> JobKind:
    """Return the default job of a model: its next token, if it generates tokens."""
    return JobKind.DECODE if model.cached_features else JobKind.PREFILL


def check_numbers(kind: JobKind, numbers: Numbers, naming: Naming = as_argument) -> None:
    """Raise ConfigurationError for numbers that belong to another job, or that are none."""
    for field in fields(numbers):
        number: object = getattr(numbers, field.name)
        if isinstance(number, bool) or not isinstance(number, int | float | None):
            raise ConfigurationError(f"{naming(field.name)}={number!r}: give a number, as in 8")
        if number is None or field.name in _NUMBERS_OF[kind]:
            continue
        owners = [naming(other) for other, names in _NUMBERS_OF.items() if field.name in names]
        own = ", ".join(map(naming, _NUMBERS_OF[kind]))
        raise ConfigurationError(
            f"{naming(field.name)} belongs to {' and '.join(owners)}; {naming(kind)} takes {own}"
        )


def build_jobs(
    kind: JobKind, numbers: Numbers, model: Model, *, naming: Naming = as_argument
) -> tuple[Job, ...]:
    """Return the job, or the points of a serving curve, with defaults filled in.

    Raises ConfigurationError for numbers that mean nothing.
    """
    most = model.max_context or USUAL_CONTEXT
    usual = model.fixed_tokens or min(USUAL_CONTEXT, most)
    batch = _first(numbers.batch, model.samples)
    match kind:
        case JobKind.DECODE:
            return (Decode(batch=batch, context=_first(numbers.context, usual)),)
        case JobKind.PREFILL:
            if model.fixed_tokens is not None and numbers.context is None:
                return (Forward(batch=batch),)
            return (Prefill(batch=batch, tokens=_first(numbers.context, usual)),)
        case JobKind.SERVE:
            points = USUAL_CONCURRENCIES if numbers.concurrency is None else (numbers.concurrency,)
            prompt = _first(numbers.prompt, min(USUAL_PROMPT, max(1, most // 2)))
            answer = _first(numbers.answer, min(USUAL_ANSWER, max(1, most - prompt)))
            return tuple(Serve(concurrency=n, prompt=prompt, answer=answer) for n in points)
        case JobKind.TRAIN:
            sequence = _first(numbers.sequence, usual)
            batch = _first(numbers.batch, _usual_batch(sequence))
            tokens = numbers.tokens
            if tokens is None:
                tokens = TOKENS_PER_WEIGHT * model.num_weights
            job = Train(tokens=tokens, sequence=sequence, batch=batch)
            if numbers.tokens is not None and tokens < job.tokens_per_step:
                raise ConfigurationError(
                    f"{naming('tokens')} {tokens:g} is less than a step has, "
                    f"{job.tokens_per_step:,} tokens in {batch:,} sequences; write more, or a "
                    f"smaller {naming('batch')}"
                )
            return (job,)


def _usual_batch(sequence: int) -> int:
    """Return the sequences of a step, a power of two, which replicas of any number share evenly."""
    whole = min(USUAL_TOKENS_PER_STEP // max(1, sequence), MOST_AT_A_TIME)
    return 1 << max(0, whole.bit_length() - 1)


def _first(said: int | None, usual: int) -> int:
    return usual if said is None else said


def choose(option: str, text: str, choices: Mapping[str, _Choice]) -> _Choice:
    """Return the choice of a name.

    Raises ConfigurationError, with all names, if there is none.
    """
    found = choices.get(text.strip().lower())
    if found is None:
        raise ConfigurationError(f"{option} {text!r}: choose from {', '.join(choices)}")
    return found


def split_systems(*texts: str) -> tuple[str, ...]:
    """Return the names in lists separated by commas, each once, in the order of appearance.

    >>> split_systems("cs3", "h100x8, b200x8,cs3")
    ('cs3', 'h100x8', 'b200x8')
    """
    names = [name.strip() for text in texts for name in text.split(",")]
    return tuple(dict.fromkeys(name for name in names if name))
