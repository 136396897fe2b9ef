"""Check whether a model can do a job at all, on any machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from onewafer.errors import ConfigurationError
from onewafer.perf.jobs import Decode, Forward, Prefill, Serve, Train

if TYPE_CHECKING:
    from onewafer.perf.jobs import Job
    from onewafer.perf.model import Model


def check_job(model: Model, job: Job) -> None:
    """Raise ConfigurationError if the model cannot do the job on any machine."""
    if isinstance(job, Decode | Serve) and not model.cached_features:
        raise ConfigurationError(_no_next_token(model, job))
    if isinstance(job, Forward):
        if model.fixed_tokens is None:
            raise ConfigurationError(
                f"{model.name} takes sequences of any length, so a pass must say how many tokens "
                "they have: ask for Prefill(batch=1, tokens=128)"
            )
        return
    check_sequence(model, longest_sequence(job))


def _no_next_token(model: Model, job: Decode | Serve) -> str:
    asked = "decode" if isinstance(job, Decode) else "serve"
    if model.fixed_tokens is None:
        takes, instead = "sequences", "sequences of --context tokens"
    else:
        takes, instead = "samples", "samples"
    return (
        f"{model.name} reads whole {takes} and gives no next token, so there is nothing to "
        f"{asked}; ask for --prefill, one pass over --batch {instead}"
    )


def check_sequence(model: Model, tokens: int) -> None:
    """Raise ConfigurationError for a sequence of a length that the model does not take."""
    if model.fixed_tokens is not None and tokens != model.fixed_tokens:
        raise ConfigurationError(
            f"{model.name} takes samples of one size, which are {model.fixed_tokens:,} rows to "
            f"it, not {tokens:,}; leave the number of tokens out, and ask for a larger batch "
            "where there is more to do"
        )
    if model.max_context is not None and tokens > model.max_context:
        raise ConfigurationError(
            f"{model.name} was made for sequences of up to {model.max_context:,} tokens; "
            f"{tokens:,} are too many"
        )


def as_rows(model: Model, job: Job) -> Job:
    """Turn a Forward into a Prefill of the same work: a sample has as many tokens as rows."""
    if isinstance(job, Forward) and model.fixed_tokens is not None:
        return Prefill(batch=job.batch, tokens=model.fixed_tokens)
    return job


def as_samples(model: Model, job: Job) -> Job:
    """Turn a Prefill of a model with a fixed number of rows into a Forward."""
    if isinstance(job, Prefill) and model.fixed_tokens is not None:
        return Forward(batch=job.batch)
    return job


def longest_sequence(job: Decode | Prefill | Serve | Train) -> int:
    """Return the number of tokens of a sequence when the job is done."""
    match job:
        case Decode():
            return job.context
        case Prefill():
            return job.tokens
        case Serve():
            return job.prompt + job.answer
        case Train():
            return job.sequence
        case _:
            assert_never(job)
