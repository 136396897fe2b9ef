"""Requests of a trace on a timeline, and what they took."""

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
"""Requests that arrive before the timeline is asked what happened."""
_STEP_SECONDS = 1.0
"""Seconds of the served system between two looks at the progress."""


@dataclass(frozen=True, slots=True)
class ReplayedRequest:
    """A request of a trace, and what it took."""

    request: TraceRequest
    times: SequenceTimes


@dataclass(frozen=True, slots=True)
class Replay:
    """A trace on a system."""

    system: ServedSystem
    requests: tuple[ReplayedRequest, ...]
    """The answered requests, in the order in which they ended."""
    refused: tuple[TraceRequest, ...]
    """The requests that are longer than the context."""
    gaps: Sequence[float] = field(repr=False)
    """Seconds between consecutive tokens of an answer, of all answers (ITL)."""

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
        """Rate of the whole system while the trace lasts."""
        return self.answer_tokens / self.seconds if self.requests else 0.0

    @property
    def joules(self) -> float:
        """Energy of all requests: idle power is counted while a request is there."""
        return math.fsum(one.times.joules for one in self.requests)


def replay(
    system: ServedSystem,
    trace: Sequence[TraceRequest],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Replay:
    """Answer the requests of a trace, which is in the order of its times.

    The same trace on the same system gives the same result, to the last bit. `progress` is told how
    many requests have ended, and how many there are.
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
        if index % _AT_A_TIME == _AT_A_TIME - 1:  # others may come at the same moment
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
    """The fate of the requests of a trace."""

    def __init__(self, requests: dict[int, TraceRequest]) -> None:
        self._requests = requests
        self._last: dict[int, float] = {}
        """When the last token of each running answer left."""
        self.ended: list[ReplayedRequest] = []
        self.gaps = array("d")

    def note(self, happened: Sequence[Happening]) -> None:
        """Note what happened."""
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
