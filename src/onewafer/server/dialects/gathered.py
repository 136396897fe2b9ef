"""All events of a request collected, for an answer that is not streamed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from onewafer.server.contract.events import CallDelta, Completed, Delta, Ended, Reason, Started
from onewafer.server.contract.generation import ToolCall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.server.contract.events import ChosenToken, Event


@dataclass(slots=True)
class GatheredAnswer:
    """One answer, complete when the request is."""

    texts: list[str] = field(default_factory=list[str])
    logprobs: list[ChosenToken] = field(default_factory=list["ChosenToken"])
    calls: list[ToolCall] = field(default_factory=list[ToolCall])
    reason: Reason = Reason.END
    stop: str | None = None

    @property
    def text(self) -> str:
        """The text of the answer."""
        return "".join(self.texts)

    def add_call(self, event: CallDelta) -> None:
        """Begin a tool call, or append to its arguments."""
        if event.call == len(self.calls):
            begun = ToolCall(id=event.id or "", name=event.name or "", arguments=event.arguments)
            self.calls.append(begun)
        else:
            so_far = self.calls[event.call]
            self.calls[event.call] = replace(so_far, arguments=so_far.arguments + event.arguments)


class Gathered:
    """The answers to a request."""

    def __init__(self, num_answers: int) -> None:
        self.answers = tuple(GatheredAnswer() for _ in range(num_answers))
        self._completed: Completed | None = None

    @property
    def completed(self) -> Completed:
        """The last event of the request, which must have come."""
        assert self._completed is not None
        return self._completed

    def add(self, events: Sequence[Event]) -> None:
        """Add events, in order."""
        for event in events:
            match event:
                case Delta():
                    answer = self.answers[event.answer]
                    answer.texts.append(event.text)
                    answer.logprobs.extend(event.logprobs)
                case CallDelta():
                    self.answers[event.answer].add_call(event)
                case Ended():
                    self.answers[event.answer].reason = event.reason
                    self.answers[event.answer].stop = event.stop
                case Completed():
                    self._completed = event
                case Started():
                    pass
