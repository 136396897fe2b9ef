"""What a model cannot do on any machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from onewafer.errors import ConfigurationError
from onewafer.perf.jobs import Decode, Prefill, Serve, Train

if TYPE_CHECKING:
    from onewafer.perf.jobs import Job
    from onewafer.perf.model import Model


def check_job(model: Model, job: Job) -> None:
    """Raise ConfigurationError if a model cannot do a job, whatever machine it is asked of."""
    check_sequence(model, longest_sequence(job))
    if isinstance(job, Decode | Serve) and not model.cached_features:
        raise ConfigurationError(
            f"{model.name} reads whole sequences and gives no next token; ask for --prefill"
        )


def check_sequence(model: Model, tokens: int) -> None:
    """Raise ConfigurationError for a sequence that the model was not made for."""
    if model.fixed_tokens is not None and tokens != model.fixed_tokens:
        raise ConfigurationError(
            f"{model.name} always has sequences of {model.fixed_tokens:,}, not {tokens:,}; for "
            "more work ask for a larger batch"
        )
    if model.max_context is not None and tokens > model.max_context:
        raise ConfigurationError(
            f"{model.name} was made for sequences of up to {model.max_context:,} tokens; "
            f"{tokens:,} are too many"
        )


def longest_sequence(job: Job) -> int:
    """Return the tokens that a sequence of the job has in the end."""
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
