"""A request inside the engine, with its answers and its listener."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from typing import TYPE_CHECKING

from onewafer.server.contract.events import (
    Completed,
    HostTimes,
    Lengths,
    Simulated,
    SystemTimes,
    Usage,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.server.contract.generation import Generation
    from onewafer.server.contract.values import SequenceRequest
    from onewafer.server.engine.mailbox import Mailbox
    from onewafer.server.scheduler import SequenceTimes
    from onewafer.server.text import AnswerText, Grammar


class Pace(StrEnum):
    """The pace at which tokens are sent."""

    HOST = "host"
    """As they are computed."""
    WAFER = "wafer"
    """At the rate of the served system."""
    VIRTUAL = "virtual"
    """On a clock that clients advance; nothing sleeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request with its tokenized prompts and its compiled grammar."""

    generation: Generation
    prompts: tuple[tuple[int, ...], ...]
    """The tokens of each prompt."""
    grammar: Grammar | None = None


@dataclass(slots=True, eq=False)
class Answer:
    """One answer of a request."""

    request: Request
    index: int
    sequence: SequenceRequest
    text: AnswerText
    times: SequenceTimes | None = None
    """Its times; None until its last token has left the served system."""
    simulated: Simulated | None = None
    """Its launches on a simulated wafer, if the values are computed on one."""
    last_left: float | None = None
    """The time at which its last token so far left the served system."""

    def note_left(self, seconds: float) -> None:
        """Note that a token has left the served system."""
        if self.last_left is not None:
            self.request.gaps.append(seconds - self.last_left)
        self.last_left = seconds


@dataclass(slots=True, eq=False)
class Request:
    """A request that is being answered."""

    asked: Asked
    listener: Mailbox
    began: float
    """Seconds on the clock of this computer."""
    answers: list[Answer] = field(default_factory=list[Answer])
    gaps: array[float] = field(default_factory=lambda: array("d"))
    """Seconds between consecutive tokens that left the served system."""
    _cached: dict[int, int] = field(default_factory=dict[int, int])
    """Index of a prompt → its cached tokens."""
    first_token: float | None = None
    """The time at which its first token was computed, on the clock of this computer."""
    computed: float = 0.0
    """The time at which its last token so far was computed."""

    @property
    def cached_tokens(self) -> int:
        """Tokens of all prompts that were in the prefix cache."""
        return sum(self._cached.values())

    def note_cached(self, answer: Answer, tokens: int) -> None:
        """Note the cached tokens of an answer's prompt; the most of its answers counts."""
        prompt = answer.index // self.asked.generation.num_answers
        self._cached[prompt] = max(self._cached.get(prompt, 0), tokens)

    def _simulated(self) -> Simulated | None:
        of_answers = [one.simulated for one in self.answers if one.simulated is not None]
        return sum(of_answers, Simulated()) if of_answers else None

    def _lengths(self, all_times: Sequence[SequenceTimes]) -> tuple[Lengths, ...]:
        each = self.asked.generation.num_answers
        return tuple(
            Lengths(
                prompt_tokens=len(prompt),
                answer_tokens=tuple(times.answer_tokens for times in all_times[first:][:each]),
            )
            for prompt, first in zip(self.asked.prompts, count(0, each), strict=False)
        )

    @property
    def is_done(self) -> bool:
        """True if all tokens have left the served system."""
        return all(answer.times is not None for answer in self.answers)

    def completed(
        self,
        *,
        system: str,
        clock_hertz: float | None,
        is_synthetic: bool,
    ) -> Completed:
        """Return the last event of the request, whose answers must be done."""
        all_times = [answer.times for answer in self.answers if answer.times is not None]
        assert len(all_times) == len(self.answers), "all answers are done"
        assert self.first_token is not None, "an answer has a token"
        first_launch = min(times.first_launch_seconds for times in all_times)
        first_token = min(times.first_token_seconds for times in all_times)
        last_token = max(times.last_token_seconds for times in all_times)
        arrival = min(times.arrival_seconds for times in all_times)
        return Completed(
            usage=Usage(
                prompt_tokens=sum(map(len, self.asked.prompts)),
                cached_tokens=self.cached_tokens,
                completion_tokens=sum(times.answer_tokens for times in all_times),
            ),
            times=SystemTimes(
                system=system,
                arrival_seconds=arrival,
                queue_seconds=first_launch - arrival,
                prompt_seconds=first_token - first_launch,
                completion_seconds=last_token - first_token,
                launches=sum(times.launches for times in all_times),
                cycles=None
                if clock_hertz is None
                else round((last_token - first_launch) * clock_hertz),
                joules=sum(times.joules for times in all_times),
            ),
            host=HostTimes(
                ttft_seconds=self.first_token - self.began,
                total_seconds=self.computed - self.began,
            ),
            is_synthetic=is_synthetic,
            simulated=self._simulated(),
            lengths=self._lengths(all_times),
            gaps=self.gaps,
        )
