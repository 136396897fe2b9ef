"""When the events of an answer are let out: as they are computed, or at the system's rate."""

from __future__ import annotations

import heapq
from collections import deque
from itertools import count
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onewafer.server.contract.events import Completed, Event
    from onewafer.server.engine.requests import Answer, Request


class Release(Protocol):
    """Lets events out; each token's events are one item."""

    def compute(self, answer: Answer, events: Sequence[Event]) -> None:
        """Take the events of the next token of an answer, which was computed."""
        ...

    def leave(self, answer: Answer, seconds: float) -> None:
        """Take notice that the next token has left the served system, at a time of its clock."""
        ...

    def complete(self, request: Request, completed: Completed) -> None:
        """Take the last event of a request, all tokens of which have left the system."""
        ...

    def forget(self, request: Request) -> None:
        """Release no further events of the request."""
        ...

    @property
    def num_held(self) -> int:
        """Tokens that are held only until the clock of the served system comes to them."""
        ...

    def run(self) -> float | None:
        """Let out what is due; return in how many seconds more is, None: nothing waits."""
        ...


class AsComputed:
    """Lets tokens out as soon as they are known."""

    num_held = 0

    def compute(self, answer: Answer, events: Sequence[Event]) -> None:
        """Let them out."""
        answer.request.listener.hear(events)

    def leave(self, answer: Answer, seconds: float) -> None:
        """Do nothing: they are out."""

    def complete(self, request: Request, completed: Completed) -> None:
        """Let it out."""
        request.listener.hear((completed,))

    def forget(self, request: Request) -> None:
        """Do nothing: nothing is held."""

    def run(self) -> float | None:
        """Do nothing."""
        return None


class AsTheyLeave:
    """Lets tokens out when they leave the served system, whose clock does not run ahead."""

    def __init__(self) -> None:
        self._held: dict[Answer, deque[Sequence[Event]]] = {}
        self._num_held = 0

    @property
    def num_held(self) -> int:
        """Tokens that are held."""
        return self._num_held

    def compute(self, answer: Answer, events: Sequence[Event]) -> None:
        """Hold them."""
        self._num_held += 1
        self._held.setdefault(answer, deque()).append(events)

    def leave(self, answer: Answer, seconds: float) -> None:  # noqa: ARG002  # it is now
        """Let them out."""
        self._num_held -= 1
        answer.request.listener.hear(self._held[answer].popleft())

    def complete(self, request: Request, completed: Completed) -> None:
        """Let it out."""
        self.forget(request)
        request.listener.hear((completed,))

    def forget(self, request: Request) -> None:
        """Release no further events of the request."""
        for answer in request.answers:
            self._num_held -= len(self._held.pop(answer, ()))

    def run(self) -> float | None:
        """Do nothing: whoever runs the timeline waits."""
        return None


class Replayed:
    """Computes a whole answer first, then lets it out at the rate of the served system."""

    num_held = 0
    """None: it holds whole answers whatever the clock does."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._held: dict[Answer, list[Sequence[Event]]] = {}
        self._seconds: dict[Answer, list[float]] = {}
        self._due: list[tuple[float, int, Request, Sequence[Event]]] = []
        self._order = count()

    def compute(self, answer: Answer, events: Sequence[Event]) -> None:
        """Hold them."""
        self._held.setdefault(answer, []).append(events)

    def leave(self, answer: Answer, seconds: float) -> None:
        """Note the time."""
        self._seconds.setdefault(answer, []).append(seconds)

    def complete(self, request: Request, completed: Completed) -> None:
        """Begin to let the answers out: the arrival is now."""
        shift = self._clock() - completed.times.arrival_seconds
        last = shift
        for answer in request.answers:
            held, all_seconds = self._held.pop(answer), self._seconds.pop(answer)
            for events, seconds in zip(held, all_seconds, strict=True):
                self._push(shift + seconds, request, events)
            last = max(last, shift + all_seconds[-1])
        self._push(last, request, (completed,))

    def _push(self, when: float, request: Request, events: Sequence[Event]) -> None:
        heapq.heappush(self._due, (when, next(self._order), request, events))

    def forget(self, request: Request) -> None:
        """Release no further events of the request."""
        for answer in request.answers:
            self._held.pop(answer, None)
            self._seconds.pop(answer, None)
        self._due = [entry for entry in self._due if entry[2] is not request]
        heapq.heapify(self._due)

    def run(self) -> float | None:
        """Let out what is due."""
        now = self._clock()
        while self._due and self._due[0][0] <= now:
            _, _, request, events = heapq.heappop(self._due)
            request.listener.hear(events)
        return self._due[0][0] - now if self._due else None
