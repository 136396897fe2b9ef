"""The access log: a line of JSON for each request, without prompts, answers and keys."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from onewafer.server.contract.clock import seconds_running, to_iso
from onewafer.server.dialects.writing import to_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.server.contract.events import Completed
    from onewafer.server.contract.json_values import Json
    from onewafer.server.http.exchange import Exchange

MAX_TEXT = 120
"""The most characters of a path or a model's name, which the client chooses."""


class AccessLog:
    """Writes a line for each request."""

    def __init__(self, write_line: Callable[[str], object]) -> None:
        self._write_line = write_line

    def write(self, exchange: Exchange) -> None:
        """Write the line of a finished request."""
        line: dict[str, Json] = {
            "time": to_iso(exchange.created),
            "id": exchange.id,
            "method": exchange.method[:MAX_TEXT],
            "path": exchange.path[:MAX_TEXT],
            "status": exchange.status or None,
            "outcome": exchange.outcome,
            "seconds": round(seconds_running() - exchange.began, 6),
            "bytes": exchange.num_bytes,
        }
        if exchange.model is not None:
            line |= {"model": exchange.model[:MAX_TEXT], "is_streamed": exchange.is_streamed}
        if exchange.ttft_seconds is not None:
            line["ttft_seconds"] = round(exchange.ttft_seconds, 6)
        if exchange.completed is not None:
            line |= _measured(exchange.completed)
        with suppress(OSError):  # a broken log does not affect answers
            self._write_line(to_json(line))


def _measured(completed: Completed) -> dict[str, Json]:
    usage, times = completed.usage, completed.times
    return {
        "prompt_tokens": usage.prompt_tokens,
        "cached_tokens": usage.cached_tokens,
        "completion_tokens": usage.completion_tokens,
        "system": times.system,
        "system_ttft_seconds": times.queue_seconds + times.prompt_seconds,
        "system_seconds": times.total_seconds,
        "joules": times.joules,
    }
