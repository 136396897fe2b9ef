"""Streams as OpenAI and Cerebras write them: one chunk a delta, the measures in the last one."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from onewafer.server.contract.events import CallDelta, Completed, Delta, Ended, Reason, Started
from onewafer.server.dialects.dialect import Writer
from onewafer.server.dialects.error_shapes import openai_error_chunk
from onewafer.server.dialects.measures import measures, openai_usage
from onewafer.server.dialects.writing import to_data, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onewafer.server.contract.events import Event
    from onewafer.server.contract.failures import RequestError
    from onewafer.server.contract.json_values import Json
    from onewafer.server.dialects.dialect import Envelope

FINISH = {
    Reason.END: "stop",
    Reason.STOP_TEXT: "stop",
    Reason.LENGTH: "length",
    Reason.TOOL_CALLS: "tool_calls",
}
"""Why an answer ends, in OpenAI's words."""


class ChunkWriter(Writer):
    """Writes chunks; a dialect says what a choice in a chunk is.

    A stream that asks for its usage ends with a chunk of it that has no choices, and has no usage
    elsewhere: so OpenAI. Another has it in the last chunk with a choice: so Cerebras.
    """

    def __init__(
        self, envelope: Envelope, head: Mapping[str, Json], *, num_answers: int, with_usage: bool
    ) -> None:
        self._envelope = envelope
        self._fields = head
        self._head = "data: " + to_json(head)[:-1] + ',"choices":['
        self._tail = '],"usage":null}\n\n' if with_usage else "]}\n\n"
        self._with_usage = with_usage
        self._num_open = num_answers
        self._num_answers = num_answers
        self._last: str | None = None

    @abstractmethod
    def opening(self, answer: int) -> str:
        """Return the first choice of an answer, as JSON text; '' for none."""

    @abstractmethod
    def text(self, event: Delta) -> str:
        """Return a choice with more text; '' for none."""

    @abstractmethod
    def call(self, event: CallDelta) -> str:
        """Return a choice with a piece of a call."""

    @abstractmethod
    def closing(self, event: Ended) -> str:
        """Return the last choice of an answer."""

    def write(self, events: Sequence[Event]) -> str:
        """Return the chunks of events."""
        head, tail = self._head, self._tail
        chunks: list[str] = []
        for event in events:
            match event:
                case Delta():
                    choice = self.text(event)
                    if choice:
                        chunks.append(f"{head}{choice}{tail}")
                case CallDelta():
                    chunks.append(f"{head}{self.call(event)}{tail}")
                case Started():
                    openings = map(self.opening, range(self._num_answers))
                    chunks.extend(f"{head}{choice}{tail}" for choice in openings if choice)
                case Ended():
                    chunks.append(self._ended(event))
                case Completed():
                    chunks.append(self._completed(event))
        return "".join(chunks)

    def fail(self, failure: RequestError) -> str:
        """Return a chunk that clients raise as an error."""
        return to_data(openai_error_chunk(failure, self._envelope.id))

    def _ended(self, event: Ended) -> str:
        """Return the end of an answer; that of the last one waits for the measures."""
        self._num_open -= 1
        choice = self.closing(event)
        if self._num_open or self._with_usage:
            return f"{self._head}{choice}{self._tail}"
        self._last = choice
        return ""

    def _completed(self, event: Completed) -> str:
        choices = self._last or ""
        extra = {
            "usage": openai_usage(event.usage),
            **measures(event, self._envelope.created),
        }
        return f"{self._head}{choices}],{to_json(extra)[1:]}\n\ndata: [DONE]\n\n"
