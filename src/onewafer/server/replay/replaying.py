"""Simulation of a trace's requests on a timeline."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onewafer.server.scheduler import Arrival, Finished, Timeline, Token

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onewafer.perf import ServedSystem
    from onewafer.server.replay.trace import TraceRequest
    from onewafer.server.scheduler import Happening, SequenceTimes

_AT_A_TIME = 512
"""Requests that are submitted before the timeline runs."""
_STEP_SECONDS = 1.0
"""Seconds of the served system between two reports of progress."""


@dataclass(frozen=True, slots=True)
class ReplayedRequest:
    """A request of a trace with its times."""

    request: TraceRequest
    times: SequenceTimes


@dataclass(frozen=True, slots=True)
class Replay:
    """The result of a trace on a system."""

    system: ServedSystem
    requests: tuple[ReplayedRequest, ...]
    """The answered requests, in the order of their ends."""
    refused: tuple[TraceRequest, ...]
    """Requests that are longer than the context."""
    gaps: Sequence[float] = field(repr=False)
    """Seconds between consecutive tokens, in all answers (ITL)."""

    @property
    def seconds(self) -> float:
        """The time from the first arrival to the last token."""
        if not self.requests:
            return 0.0
        begin = min(one.times.arrival_seconds for one in self.requests)
        return max(one.times.last_token_seconds for one in self.requests) - begin

    @property
    def answer_tokens(self) -> int:
        """Tokens of all answers."""
        return sum(one.times.answer_tokens for one in self.requests)

    @property
    def tokens_per_second(self) -> float:
        """The throughput of the whole system over the trace."""
        return self.answer_tokens / self.seconds if self.requests else 0.0

    @property
    def joules(self) -> float:
        """The energy of all requests; idle power counts while a request is on the system."""
        return math.fsum(one.times.joules for one in self.requests)


def replay(
    system: ServedSystem,
    trace: Sequence[TraceRequest],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Replay:
    """Simulate the requests of a trace, which must be sorted by time.

    The result is deterministic, to the last bit. `progress` gets the number of ended requests, and
    the number of all.
    """
    longest = min(system.context, system.room_tokens)
    fitting = [one for one in trace if one.prompt_tokens + one.answer_tokens <= longest]
    timeline, record = Timeline(system), _Record(dict(enumerate(fitting)))
    for index, request in enumerate(fitting):
        timeline.arrive(
            Arrival(
                id=index,
                seconds=request.seconds,
                prompt=request.prompt(),
                most_tokens=request.answer_tokens,
            )
        )
        timeline.tell(index, range(request.answer_tokens), is_all=True)
        if index % _AT_A_TIME == _AT_A_TIME - 1:  # others may have the same time
            record.note(timeline.run(math.nextafter(request.seconds, -math.inf)))
            if progress is not None:
                progress(len(record.ended), len(fitting))
    while not timeline.is_idle:
        following = timeline.next_seconds
        assert following is not None, "what is not idle goes on: every token is known"
        record.note(timeline.run(following + _STEP_SECONDS))
        if progress is not None:
            progress(len(record.ended), len(fitting))
    refused = tuple(one for one in trace if one.prompt_tokens + one.answer_tokens > longest)
    return Replay(system, tuple(record.ended), refused, record.gaps)


class _Record:
    """Collects the ended requests and the gaps between tokens."""

    def __init__(self, requests: dict[int, TraceRequest]) -> None:
        self._requests = requests
        self._last: dict[int, float] = {}
        """The time of each running answer's last token."""
        self.ended: list[ReplayedRequest] = []
        self.gaps = array("d")

    def note(self, happened: Sequence[Happening]) -> None:
        """Add events of the timeline."""
        for one in happened:
            match one:
                case Token():
                    if one.number:
                        self.gaps.append(one.seconds - self._last[one.id])
                    self._last[one.id] = one.seconds
                case Finished():
                    del self._last[one.id]
                    self.ended.append(ReplayedRequest(self._requests.pop(one.id), one.times))
                case _:
                    pass
