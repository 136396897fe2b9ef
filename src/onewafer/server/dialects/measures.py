"""The times of an answer: Cerebras' `time_info`, and the object `onewafer`."""

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
    """Return the `usage` of OpenAI and Cerebras."""
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
    """Return Cerebras' `time_info`, in seconds of the served system's clock."""
    return {
        "queue_time": times.queue_seconds,
        "prompt_time": times.prompt_seconds,
        "completion_time": times.completion_seconds,
        "total_time": times.total_seconds,
        "created": created,
    }


def onewafer_object(completed: Completed) -> dict[str, Json]:
    """Return the object `onewafer`: cycles, times and energy on the served system."""
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
    """Return the fields `time_info` and `onewafer` of an answer in any dialect."""
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
