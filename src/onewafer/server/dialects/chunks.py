"""Streams of OpenAI and Cerebras: one chunk a delta, the measures in the last one."""

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
    from onewafer.server.dialects.gathered import Gathered, GatheredAnswer
    from onewafer.server.dialects.openai_wire import StreamOptions

FINISH = {
    Reason.END: "stop",
    Reason.STOP_TEXT: "stop",
    Reason.LENGTH: "length",
    Reason.TOOL_CALLS: "tool_calls",
}
"""OpenAI's `finish_reason`."""


class ChunkWriter(Writer):
    """Writes completions; subclasses write the choices in them.

    A stream whose request asks for the usage ends with a chunk that has only that, as OpenAI's
    does. In any other stream the usage is in the last chunk with a choice, as in Cerebras'.
    """

    def __init__(
        self,
        envelope: Envelope,
        *,
        prefix: str,
        kinds: tuple[str, str],
        model: str,
        options: StreamOptions | None,
        num_answers: int,
    ) -> None:
        """Take the prefix of ids, and the values of `object` in a chunk and in a whole answer."""
        self._envelope = envelope
        self._identity: dict[str, Json] = {
            "id": f"{prefix}-{envelope.id}",
            "object": kinds[1],
            "created": int(envelope.created),
            "model": model,
            "system_fingerprint": envelope.fingerprint(model),
        }
        head = to_json({**self._identity, "object": kinds[0]})
        self._head = f'data: {head[:-1]},"choices":['
        self._with_usage = options is not None and bool(options.include_usage)
        self._tail = '],"usage":null}\n\n' if self._with_usage else "]}\n\n"
        self._num_open = num_answers
        self._num_answers = num_answers
        self._last: str | None = None

    def opening(self, answer: int) -> str:  # noqa: ARG002  # for subclasses
        """Return the first choice of an answer as JSON; '' for none."""
        return ""

    @abstractmethod
    def text(self, event: Delta) -> str:
        """Return a choice with more text, and its tokens' log probabilities; '' for none."""

    def call(self, event: CallDelta) -> str:
        """Return a choice with a part of a tool call; only conversations have them."""
        raise AssertionError(event)

    @abstractmethod
    def closing(self, event: Ended) -> str:
        """Return the last choice of an answer, with its finish reason."""

    @abstractmethod
    def answer(self, index: int, answer: GatheredAnswer) -> dict[str, Json]:
        """Return the choice of a whole answer."""

    def write(self, events: Sequence[Event]) -> str:
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
        return to_data(openai_error_chunk(failure, self._envelope.id))

    def whole(self, gathered: Gathered) -> Mapping[str, Json]:
        choices = [self.answer(i, answer) for i, answer in enumerate(gathered.answers)]
        return {**self._identity, "choices": choices, **self._end(gathered.completed)}

    def _ended(self, event: Ended) -> str:
        """Return the last chunk of an answer; that of the last answer waits for the measures."""
        self._num_open -= 1
        choice = self.closing(event)
        if self._num_open or self._with_usage:
            return f"{self._head}{choice}{self._tail}"
        self._last = choice
        return ""

    def _completed(self, event: Completed) -> str:
        end = to_json(self._end(event))
        return f"{self._head}{self._last or ''}],{end[1:]}\n\ndata: [DONE]\n\n"

    def _end(self, event: Completed) -> dict[str, Json]:
        return {"usage": openai_usage(event.usage), **measures(event, self._envelope.created)}
