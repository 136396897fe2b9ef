"""The moment at which events of an answer are sent: when computed, or at the system's rate."""

from __future__ import annotations

import heapq
from collections import deque
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onewafer.server.contract.events import Completed, Event
    from onewafer.server.engine.requests import Answer, Request


class Release:
    """Sends the events of each token as soon as it is computed; subclasses hold them back."""

    num_held = 0
    """Computed tokens that wait for the clock of the served system."""

    def compute(self, answer: Answer, events: Sequence[Event]) -> None:
        """Take the events of an answer's next token, which has been computed."""
        answer.request.listener.hear(events)

    def leave(self, answer: Answer, seconds: float) -> None:
        """Note that the answer's next token has left the served system, at a time of its clock."""

    def complete(self, request: Request, completed: Completed) -> None:
        """Take the last event of a request, all tokens of which have left the served system."""
        request.listener.hear((completed,))

    def forget(self, request: Request) -> None:
        """Drop the events of a request that were not sent."""

    def run(self) -> float | None:
        """Send the events that are due; return the seconds to the next ones, None: there are none.

        None also if they are sent by `leave`.
        """
        return None


class AsTheyLeave(Release):
    """Sends tokens when they leave the served system, whose clock does not run ahead."""

    def __init__(self) -> None:
        self._held: dict[Answer, deque[Sequence[Event]]] = {}

    def compute(self, answer: Answer, events: Sequence[Event]) -> None:
        self.num_held += 1
        self._held.setdefault(answer, deque()).append(events)

    def leave(self, answer: Answer, seconds: float) -> None:  # noqa: ARG002  # it is now
        self.num_held -= 1
        answer.request.listener.hear(self._held[answer].popleft())

    def complete(self, request: Request, completed: Completed) -> None:
        self.forget(request)
        request.listener.hear((completed,))

    def forget(self, request: Request) -> None:
        for answer in request.answers:
            self.num_held -= len(self._held.pop(answer, ()))


class Replayed(Release):
    """Computes whole answers first, then sends them at the rate of the served system.

    `num_held` stays 0: what is held does not depend on the clock.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._held: dict[Answer, list[Sequence[Event]]] = {}
        self._seconds: dict[Answer, list[float]] = {}
        self._due: list[tuple[float, int, Request, Sequence[Event]]] = []
        self._order = count()

    def compute(self, answer: Answer, events: Sequence[Event]) -> None:
        self._held.setdefault(answer, []).append(events)

    def leave(self, answer: Answer, seconds: float) -> None:
        self._seconds.setdefault(answer, []).append(seconds)

    def complete(self, request: Request, completed: Completed) -> None:
        """Schedule all events of the request, as if it had arrived now."""
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
        for answer in request.answers:
            self._held.pop(answer, None)
            self._seconds.pop(answer, None)
        self._due = [entry for entry in self._due if entry[2] is not request]
        heapq.heapify(self._due)

    def run(self) -> float | None:
        now = self._clock()
        while self._due and self._due[0][0] <= now:
            _, _, request, events = heapq.heappop(self._due)
            request.listener.hear(events)
        return self._due[0][0] - now if self._due else None
