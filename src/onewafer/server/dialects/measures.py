"""Times of an answer: `time_info` as Cerebras writes it, and the `onewafer` object."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onewafer.server.contract.events import (
        Alternative,
        Completed,
        Simulated,
        SystemTimes,
        Usage,
    )
    from onewafer.server.contract.json_values import Json


def openai_usage(usage: Usage) -> dict[str, Json]:
    """Return the tokens as OpenAI and Cerebras write them."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def time_info(times: SystemTimes, created: float) -> dict[str, Json]:
    """Return seconds of the served system, never the host's."""
    return {
        "queue_time": times.queue_seconds,
        "prompt_time": times.prompt_seconds,
        "completion_time": times.completion_seconds,
        "total_time": times.total_seconds,
        "created": created,
    }


def onewafer_object(completed: Completed) -> dict[str, Json]:
    """Return what the served system did for a request."""
    times = completed.times
    return {
        "system": times.system,
        "is_synthetic": completed.is_synthetic,
        "cycles": times.cycles,
        "launches": times.launches,
        "arrival_seconds": times.arrival_seconds,
        "queue_seconds": times.queue_seconds,
        "prompt_seconds": times.prompt_seconds,
        "completion_seconds": times.completion_seconds,
        "total_seconds": times.total_seconds,
        "joules": times.joules,
        "host": {
            "ttft_seconds": completed.host.ttft_seconds,
            "total_seconds": completed.host.total_seconds,
        },
        "simulated": _simulated(completed.simulated),
        "alternative": _alternative(times.alternative),
    }


def measures(completed: Completed, created: float) -> dict[str, Json]:
    """Return `time_info` and `onewafer`, for an answer in any dialect."""
    return {
        "time_info": time_info(completed.times, created),
        "onewafer": onewafer_object(completed),
    }


def _simulated(simulated: Simulated | None) -> dict[str, Json] | None:
    if simulated is None:
        return None
    return {"launches": simulated.launches, "cycles": simulated.cycles}


def _alternative(alternative: Alternative | None) -> dict[str, Json] | None:
    if alternative is None:
        return None
    return {
        "system": alternative.system,
        "ttft_seconds": alternative.ttft_seconds,
        "tokens_per_second": alternative.tokens_per_second,
        "total_seconds": alternative.total_seconds,
    }
