"""OpenAI's responses: items that are added, extended and done, in numbered events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.server.contract.events import CallDelta, Completed, Delta, Ended, Reason, Started
from onewafer.server.dialects.dialect import Writer
from onewafer.server.dialects.measures import measures
from onewafer.server.dialects.writing import to_named

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from onewafer.server.contract.events import ChosenToken, Event, TokenLogprob, Usage
    from onewafer.server.contract.failures import RequestError
    from onewafer.server.contract.json_values import Json
    from onewafer.server.dialects.dialect import Envelope
    from onewafer.server.dialects.gathered import Gathered


@dataclass(slots=True)
class OpenText:
    """A message item that is not complete."""

    id: str
    pieces: list[str]
    logprobs: list[ChosenToken]


@dataclass(slots=True)
class OpenCall:
    """A tool call item that is not complete."""

    id: str
    call_id: str
    name: str
    pieces: list[str]


class ResponseWriter(Writer):
    """Writes one response."""

    def __init__(self, echoed: Mapping[str, Json], envelope: Envelope) -> None:
        self._echoed = echoed
        self._envelope = envelope
        self._number = 0
        self._done: list[Json] = []
        self._open: OpenText | OpenCall | None = None
        self._reason = Reason.END

    def write(self, events: Sequence[Event]) -> str:
        return "".join(text for event in events for text in self._write(event))

    def fail(self, failure: RequestError) -> str:
        error = {"code": failure.code or "server_error", "message": str(failure)}
        return self._event("response.failed", response=self._response("failed", error=error))

    def whole(self, gathered: Gathered) -> Mapping[str, Json]:
        [answer] = gathered.answers
        self._reason = answer.reason
        if answer.text:
            message = OpenText(self._item_id("msg"), [answer.text], answer.logprobs)
            self._done.append(_message(message, self._status))
        for call in answer.calls:
            item_id = self._item_id("fc")
            done = OpenCall(item_id, call.id, call.name, [call.arguments])
            self._done.append(_call(done, self._status))
        return self._completed(gathered.completed)

    @property
    def _status(self) -> str:
        return "incomplete" if self._reason is Reason.LENGTH else "completed"

    def _write(self, event: Event) -> Iterator[str]:
        match event:
            case Delta():
                yield from self._text(event)
            case CallDelta():
                yield from self._call_piece(event)
            case Started():
                response = self._response("in_progress")
                yield self._event("response.created", response=response)
                yield self._event("response.in_progress", response=response)
            case Ended():
                self._reason = event.reason
                yield from self._close()
            case Completed():
                name = f"response.{self._status}"
                yield self._event(name, response=self._completed(event))

    def _text(self, event: Delta) -> Iterator[str]:
        if not event.text and not event.logprobs:
            return
        match self._open:
            case OpenText() as message:
                pass
            case _:
                yield from self._close()
                message = OpenText(self._item_id("msg"), [], [])
                yield from self._begin_text(message)
        message.pieces.append(event.text)
        message.logprobs.extend(event.logprobs)
        yield self._event(
            "response.output_text.delta",
            **self._place(message.id),
            content_index=0,
            delta=event.text,
            logprobs=chosen_tokens(event.logprobs),
        )

    def _begin_text(self, message: OpenText) -> Iterator[str]:
        self._open = message
        item: dict[str, Json] = {**_message(message, "in_progress"), "content": []}
        yield self._event("response.output_item.added", output_index=len(self._done), item=item)
        yield self._event(
            "response.content_part.added",
            **self._place(message.id),
            content_index=0,
            part=_part(message),
        )

    def _call_piece(self, event: CallDelta) -> Iterator[str]:
        if event.id is not None:
            yield from self._close()
            begun = OpenCall(self._item_id("fc"), event.id, event.name or "", [])
            self._open = begun
            yield self._event(
                "response.output_item.added",
                output_index=len(self._done),
                item=_call(begun, "in_progress"),
            )
        if event.arguments:
            match self._open:
                case OpenCall() as call:
                    call.pieces.append(event.arguments)
                    yield self._event(
                        "response.function_call_arguments.delta",
                        **self._place(call.id),
                        delta=event.arguments,
                    )
                case _:
                    raise AssertionError(event)

    def _close(self) -> Iterator[str]:
        """Yield the last events of the open item, if any."""
        match self._open:
            case OpenText() as message:
                item = _message(message, self._status)
                yield from self._end_text(message)
            case OpenCall() as call:
                item = _call(call, self._status)
                yield self._event(
                    "response.function_call_arguments.done",
                    **self._place(call.id),
                    name=call.name,
                    arguments="".join(call.pieces),
                )
            case None:
                return
        yield self._event("response.output_item.done", output_index=len(self._done), item=item)
        self._done.append(item)
        self._open = None

    def _end_text(self, message: OpenText) -> Iterator[str]:
        place = {**self._place(message.id), "content_index": 0}
        yield self._event(
            "response.output_text.done",
            **place,
            text="".join(message.pieces),
            logprobs=chosen_tokens(message.logprobs),
        )
        yield self._event("response.content_part.done", **place, part=_part(message))

    def _place(self, item_id: str) -> dict[str, Json]:
        return {"item_id": item_id, "output_index": len(self._done)}

    def _item_id(self, prefix: str) -> str:
        return f"{prefix}_{self._envelope.id}_{len(self._done)}"

    def _event(self, name: str, /, **fields: Json) -> str:
        value = {"type": name, "sequence_number": self._number, **fields}
        self._number += 1
        return to_named(name, value)

    def _completed(self, event: Completed) -> dict[str, Json]:
        return {
            **self._response(self._status),
            "usage": _usage(event.usage),
            **measures(event, self._envelope.created),
        }

    def _response(self, status: str, *, error: Json = None) -> dict[str, Json]:
        is_cut = status == "incomplete"
        return {
            **self._echoed,
            "id": f"resp_{self._envelope.id}",
            "object": "response",
            "created_at": int(self._envelope.created),
            "status": status,
            "background": False,
            "error": error,
            "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
            "output": list(self._done),
            "usage": None,
        }


def _part(message: OpenText) -> dict[str, Json]:
    return {
        "type": "output_text",
        "text": "".join(message.pieces),
        "annotations": [],
        "logprobs": chosen_tokens(message.logprobs),
    }


def _message(message: OpenText, status: str) -> dict[str, Json]:
    return {
        "id": message.id,
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": [_part(message)],
    }


def _call(call: OpenCall, status: str) -> dict[str, Json]:
    return {
        "id": call.id,
        "type": "function_call",
        "status": status,
        "call_id": call.call_id,
        "name": call.name,
        "arguments": "".join(call.pieces),
    }


def _usage(usage: Usage) -> dict[str, Json]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": 0,
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def token_logprob(token: TokenLogprob) -> dict[str, Json]:
    """Return one token with its log probability."""
    return {"token": token.token, "logprob": token.logprob, "bytes": list(token.data)}


def chosen_tokens(logprobs: Sequence[ChosenToken]) -> list[Json]:
    """Return tokens, each with the most likely alternatives."""
    return [
        {**token_logprob(token.chosen), "top_logprobs": [token_logprob(top) for top in token.top]}
        for token in logprobs
    ]


def chat_logprobs(logprobs: Sequence[ChosenToken]) -> dict[str, Json]:
    """Return the `logprobs` of a chat completion or of a chunk."""
    return {"content": chosen_tokens(logprobs), "refusal": None}
