"""What a request takes on another system that has nothing else to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.server.events import Alternative
from onewafer.server.scheduler import Arrival, Finished, Timeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.perf import ServedSystem


def alone(
    system: ServedSystem, *, prompt_tokens: int, answer_tokens: Sequence[int]
) -> Alternative | None:
    """Return the times of a request with answers of some lengths; None: it has no room there."""
    timeline = Timeline(system)
    prompt = range(prompt_tokens)
    if prompt_tokens + max(answer_tokens) > min(system.context, system.room_tokens):
        return None
    for index, length in enumerate(answer_tokens):
        timeline.arrive(Arrival(id=index, seconds=0.0, prompt=prompt, most_tokens=length))
        timeline.tell(index, range(length), is_all=True)
    all_times = [one.times for one in timeline.run() if isinstance(one, Finished)]
    total = max(times.last_token_seconds for times in all_times)
    return Alternative(
        system=system.name,
        ttft_seconds=min(times.first_token_seconds for times in all_times),
        tokens_per_second=sum(answer_tokens) / total,
        total_seconds=total,
    )
