"""The time of a request on another system that has nothing else to do."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from onewafer.server.contract.events import Alternative
from onewafer.server.scheduler import Arrival, Finished, Timeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.perf import ServedSystem
    from onewafer.server.contract.events import Lengths

_APART = 1 << 32
"""Between the tokens of two prompts: none begins as another one does."""


def alone(system: ServedSystem, lengths: Sequence[Lengths]) -> Alternative | None:
    """Return the times of a request with answers of some lengths; None: it has no room there."""
    timeline, ids = Timeline(system), count()
    room = min(system.context, system.room_tokens)
    if any(one.prompt_tokens + max(one.answer_tokens) > room for one in lengths):
        return None
    for number, one in enumerate(lengths):
        first = number * _APART
        prompt = range(first, first + one.prompt_tokens)
        for length, index in zip(one.answer_tokens, ids, strict=False):
            timeline.arrive(Arrival(id=index, seconds=0.0, prompt=prompt, most_tokens=length))
            timeline.tell(index, range(length), is_all=True)
    all_times = [one.times for one in timeline.run() if isinstance(one, Finished)]
    total = max(times.last_token_seconds for times in all_times)
    return Alternative(
        system=system.name,
        ttft_seconds=min(times.first_token_seconds for times in all_times),
        tokens_per_second=sum(times.answer_tokens for times in all_times) / total,
        total_seconds=total,
    )
