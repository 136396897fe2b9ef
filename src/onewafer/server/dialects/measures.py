"""The times of an answer: Cerebras' `time_info`, and the object `onewafer`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onewafer.server.contract.events import Completed, SystemTimes, Usage
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
    simulated = completed.simulated
    return {
        **asdict(completed.times),
        "total_seconds": completed.times.total_seconds,
        "is_synthetic": completed.is_synthetic,
        "host": asdict(completed.host),
        "simulated": None if simulated is None else asdict(simulated),
    }


def measures(completed: Completed, created: float) -> dict[str, Json]:
    """Return the fields `time_info` and `onewafer` of an answer in any dialect."""
    return {
        "time_info": time_info(completed.times, created),
        "onewafer": onewafer_object(completed),
    }
