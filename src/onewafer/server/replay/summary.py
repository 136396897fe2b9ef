"""The result of a replay as a table and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Group
from rich.table import Table
from rich.text import Text

from onewafer.units import count_of, format_rate, format_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from onewafer.server.replay.replaying import Replay

PERCENTILES = (50, 90, 99)


def percentiles(numbers: Sequence[float]) -> dict[str, float]:
    """Return the mean and the percentiles of numbers, by linear interpolation; {} for none.

    >>> percentiles([1.0, 2.0, 3.0])["p50"]
    2.0
    """
    if not len(numbers):
        return {}
    values = np.asarray(numbers, dtype=np.float64)
    found = np.percentile(values, PERCENTILES)
    named = {f"p{level}": float(value) for level, value in zip(PERCENTILES, found, strict=True)}
    return {"mean": float(values.mean()), **named}


def distributions(replay: Replay) -> dict[str, dict[str, float]]:
    """Return the distributions of latencies in seconds, by their usual names."""
    all_times = [one.times for one in replay.requests]
    tpot = [times.tpot_seconds for times in all_times]
    return {
        "queue": percentiles([t.first_launch_seconds - t.arrival_seconds for t in all_times]),
        "ttft": percentiles([times.ttft_seconds for times in all_times]),
        "tpot": percentiles([seconds for seconds in tpot if seconds is not None]),
        "itl": percentiles(replay.gaps),
        "request": percentiles([t.last_token_seconds - t.arrival_seconds for t in all_times]),
    }


_TITLES = {
    "queue": "wait for the first launch",
    "ttft": "time to first token (TTFT)",
    "tpot": "time per output token (TPOT)",
    "itl": "between tokens (ITL)",
    "request": "whole request",
}


def render(replay: Replay) -> RenderableType:
    """Return the rates, the distributions, and the refused requests."""
    system = replay.system
    lines = [Text(f"{system.title}: {system.layout}")]
    if replay.requests:
        rate = format_rate(replay.tokens_per_second)
        cached = sum(one.times.cached_tokens for one in replay.requests)
        read = sum(one.times.prompt_tokens for one in replay.requests)
        lines.append(
            Text(
                f"{count_of(len(replay.requests), 'request')} in {format_seconds(replay.seconds)}: "
                f"{len(replay.requests) / replay.seconds:,.2f} requests/s, {rate} tokens/s, "
                f"{replay.joules / replay.answer_tokens:,.3g} J a token, "
                f"{cached / read:.0%} of the prompts cached"
            )
        )
    if replay.refused:
        longest = min(system.context, system.room_tokens)
        lines.append(
            Text(
                f"{count_of(len(replay.refused), 'request')} refused: longer than the context of "
                f"{longest:,} tokens, the first in line {replay.refused[0].line}"
            )
        )
    notes = [Text(f"* {note}") for note in system.notes]
    return Group(*lines, *([_table(replay)] if replay.requests else []), *notes)


def _table(replay: Replay) -> Table:
    table = Table("", "mean", *(f"p{level}" for level in PERCENTILES))
    for name, numbers in distributions(replay).items():
        if numbers:
            table.add_row(_TITLES[name], *map(format_seconds, numbers.values()))
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def to_json(replay: Replay) -> str:
    """Return the system, the distributions and each request, in SI units."""
    return json.dumps(
        {
            "schema": "onewafer-replay-1",
            "system": {
                "name": replay.system.name,
                "title": replay.system.title,
                "layout": replay.system.layout,
                "slots": replay.system.replicas * replay.system.num_slots,
                "context": replay.system.context,
                "notes": replay.system.notes,
            },
            "seconds": replay.seconds,
            "tokens_per_second": replay.tokens_per_second,
            "joules": replay.joules,
            "distributions_seconds": distributions(replay),
            "requests": [
                {"line": one.request.line, **asdict(one.times)} for one in replay.requests
            ],
            "refused_lines": [one.line for one in replay.refused],
        },
        indent=1,
    )
