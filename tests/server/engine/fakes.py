"""A language of numbers and a model that counts, for tests of the engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onewafer.server.contract.events import Delta, Ended, Event, Reason
from onewafer.server.contract.failures import RequestError
from onewafer.server.contract.generation import Generation, PlainText
from onewafer.server.contract.values import Produced, SequenceRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

END = 0
"""The token that ends an answer."""


@dataclass(slots=True)
class NumberText:
    """Reads tokens as numbers."""

    answer: int
    most_tokens: int
    has_ended: bool = False
    count: int = 0

    def take(self, produced: Produced) -> Sequence[Event]:
        """Return the number as text."""
        self.count += 1
        events: list[Event] = []
        if produced.token != END:
            events.append(
                Delta(answer=self.answer, text=f"{produced.token} ", tokens=(produced.token,))
            )
        self.has_ended = produced.token == END or self.count == self.most_tokens
        if self.has_ended:
            reason = Reason.END if produced.token == END else Reason.LENGTH
            events.append(Ended(answer=self.answer, reason=reason))
        return events


class NumberLanguage:
    """A prompt is a text of numbers."""

    def read_prompt(self, generation: Generation) -> tuple[int, ...]:
        """Return the numbers."""
        assert isinstance(generation.prompt, PlainText)
        try:
            return tuple(map(int, generation.prompt.text.split()))
        except ValueError:
            raise RequestError("the prompt is no list of numbers", param="prompt") from None

    def begin_answer(self, generation: Generation, answer: int, *, most_tokens: int) -> NumberText:
        """Return what reads an answer."""
        del generation
        return NumberText(answer, most_tokens)

    def read_grammar(self, generation: Generation) -> None:
        """Allow everything."""
        del generation

    def echoed(self, generation: Generation) -> str:
        """Return the prompt, if it is asked for."""
        assert isinstance(generation.prompt, PlainText)
        return generation.prompt.text if generation.echo else ""


@dataclass(slots=True)
class CountingValues:
    """Counts down from the last token of the prompt to END, a token a step for each sequence."""

    num_slots: int = 2
    context_length: int = 100
    running: dict[int, int] = field(default_factory=dict[int, int])
    begun: list[SequenceRequest] = field(default_factory=list[SequenceRequest])

    def begin(self, request: SequenceRequest) -> int:
        """Take a sequence."""
        assert len(self.running) < self.num_slots
        self.running[request.id] = request.prompt[-1]
        self.begun.append(request)
        return 0

    def step(self) -> Sequence[Produced]:
        """Count down."""
        for sequence_id in self.running:
            self.running[sequence_id] -= 1
        return [Produced(id=i, token=token) for i, token in self.running.items()]

    def end(self, sequence_id: int) -> None:
        """Free a slot."""
        del self.running[sequence_id]


@dataclass(slots=True)
class Heard:
    """A listener that remembers."""

    events: list[Event] = field(default_factory=list[Event])
    failure: Exception | None = None

    def hear(self, events: Sequence[Event]) -> None:
        """Remember events."""
        self.events.extend(events)

    def fail(self, error: Exception) -> None:
        """Remember the failure."""
        self.failure = error

    @property
    def text(self) -> str:
        """All text."""
        return "".join(event.text for event in self.events if isinstance(event, Delta))


@dataclass(slots=True)
class Wall:
    """A clock that a test moves."""

    now: float = 1_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now
