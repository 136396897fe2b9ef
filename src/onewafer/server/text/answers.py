"""The text of an answer, made from its tokens.

    tokens ─▶ bytes ─▶ characters ─▶ calls and text ─▶ stop texts ─▶ events

Each step holds back the text that it cannot pass on yet: a part of a character, the possible start
of a tool call or of a stop text. Tokens are passed on with their text.
"""

from __future__ import annotations

import codecs
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onewafer.files.digests import digest
from onewafer.server.contract.events import (
    CallDelta,
    ChosenToken,
    Delta,
    Ended,
    Reason,
    TokenLogprob,
)
from onewafer.server.text.call_reader import CallBegins, CallGoesOn, CallReader, Said
from onewafer.server.text.stop_texts import StopTexts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TypeAlias

    from onewafer.server.contract.values import Produced
    from onewafer.server.text.call_format import CallFormat
    from onewafer.server.text.vocabulary import Vocabulary

    AnswerEvent: TypeAlias = Delta | CallDelta | Ended


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerPlan:
    """The options of an answer's text."""

    request_id: str
    answer: int
    """The index of the answer."""
    most_tokens: int
    """The most tokens, at least 1."""
    min_tokens: int = 0
    """Stop texts are ignored in so many first tokens."""
    stops: tuple[str, ...] = ()
    calls: CallFormat | None = None
    """The format of tool calls; None: the answer has none."""
    has_logprobs: bool = False


@dataclass(slots=True)
class _Pending:
    """Tokens whose text is held back."""

    tokens: list[int] = field(default_factory=list[int])
    starts: list[int] = field(default_factory=list[int])
    """For each token, the held characters before its text."""
    logprobs: list[ChosenToken] = field(default_factory=list[ChosenToken])
    num_characters: int = 0

    def take(self, before: int | None = None) -> tuple[tuple[int, ...], tuple[ChosenToken, ...]]:
        """Drop all tokens; return them, or only those that begin before character `before`."""
        count = len(self.tokens) if before is None else bisect_left(self.starts, before)
        taken = tuple(self.tokens[:count]), tuple(self.logprobs[:count])
        self.tokens.clear()
        self.starts.clear()
        self.logprobs.clear()
        self.num_characters = 0
        return taken


class AnswerText:
    """Converts the tokens of one answer to events."""

    def __init__(self, plan: AnswerPlan, vocabulary: Vocabulary) -> None:
        self._plan = plan
        self._vocabulary = vocabulary
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stops = StopTexts(plan.stops)
        self._reader = None if plan.calls is None else CallReader(plan.calls)
        self._is_plain = self._reader is None and not plan.stops
        """True if there are neither tool calls nor stop texts."""
        self._holds_nothing = self._is_plain and not plan.has_logprobs
        """True if the text of a token of whole characters can be sent at once."""
        self._pending = _Pending()
        self._num_tokens = 0
        self.has_ended = False
        """True after its `Ended` event."""

    def take(self, produced: Produced) -> list[AnswerEvent]:
        """Return the events of the next token."""
        assert not self.has_ended
        self._num_tokens += 1
        if produced.token in self._vocabulary.end_ids:
            return list(self._end(Reason.END))
        events: list[AnswerEvent] = []
        if self._holds_nothing and (text := self._vocabulary.whole_text_of(produced.token)):
            events.append(Delta(self._plan.answer, text, (produced.token,)))
        else:
            events += self._read(produced)
        if not self.has_ended and self._num_tokens >= self._plan.most_tokens:
            events += self._end(Reason.LENGTH)
        return events

    def _read(self, produced: Produced) -> Iterator[AnswerEvent]:
        """Yield the events of a token that may have parts of characters."""
        self._keep(produced)
        text = self._decoder.decode(self._vocabulary.bytes_of(produced.token))
        if text and self._is_plain:
            yield Delta(self._plan.answer, text, *self._pending.take())
            self._holds_nothing = not (self._plan.has_logprobs or self._decoder.getstate()[0])
        elif text:
            self._pending.num_characters += len(text)
            yield from self._divide(text)
        else:
            self._holds_nothing = False

    def _keep(self, produced: Produced) -> None:
        self._pending.tokens.append(produced.token)
        self._pending.starts.append(self._pending.num_characters)
        if self._plan.has_logprobs and produced.logprob is not None:
            top = tuple(self._named(token, logprob) for token, logprob in produced.top)
            chosen = self._named(produced.token, produced.logprob)
            self._pending.logprobs.append(ChosenToken(chosen=chosen, top=top))

    def _named(self, token: int, logprob: float) -> TokenLogprob:
        return TokenLogprob(
            token=self._vocabulary.name_of(token),
            data=self._vocabulary.bytes_of(token),
            id=token,
            logprob=logprob,
        )

    def _divide(self, text: str) -> Iterator[AnswerEvent]:
        """Yield the events of more text, divided into plain text and tool calls."""
        if self._reader is None:
            yield from self._say(text)
            return
        for part in self._reader.push(text):
            match part:
                case Said(said):
                    yield from self._say(said)
                case CallBegins(name):
                    yield self._call(self._reader, "", name=name)
                case CallGoesOn(arguments):
                    yield self._call(self._reader, arguments)

    def _say(self, text: str) -> Iterator[AnswerEvent]:
        """Yield plain text, and the end of the answer if it contains a stop text."""
        if self.has_ended:
            return
        if self._num_tokens <= self._plan.min_tokens:
            yield from self._release(text)
            return
        released = self._stops.push(text)
        is_stopped = released.stop is not None
        yield from self._release(released.text, before=len(released.text) if is_stopped else None)
        if is_stopped:
            self.has_ended = True
            yield Ended(answer=self._plan.answer, reason=Reason.STOP_TEXT, stop=released.stop)

    def _release(self, text: str, *, before: int | None = None) -> Iterator[AnswerEvent]:
        """Yield text with its tokens, without those that begin at character `before` or later."""
        if text:
            tokens, logprobs = self._pending.take(before)
            yield Delta(answer=self._plan.answer, text=text, tokens=tokens, logprobs=logprobs)

    def _call(self, reader: CallReader, arguments: str, *, name: str | None = None) -> CallDelta:
        index = reader.num_calls - 1
        key = f"{self._plan.request_id}/{self._plan.answer}/{index}"
        return CallDelta(
            answer=self._plan.answer,
            call=index,
            arguments=arguments,
            id=None if name is None else f"call_{digest(key)[:24]}",
            name=name,
        )

    def _end(self, reason: Reason) -> Iterable[AnswerEvent]:
        """Yield the held text, and the end of the answer."""
        rest = self._decoder.decode(b"", final=True)
        yield from self._divide(rest)
        for part in () if self._reader is None else self._reader.flush():
            yield from self._say(part.text)
        if self.has_ended:
            return
        held = self._stops.flush()
        tokens, logprobs = self._pending.take()
        if held or tokens:
            yield Delta(answer=self._plan.answer, text=held, tokens=tokens, logprobs=logprobs)
        self.has_ended = True
        yield Ended(answer=self._plan.answer, reason=self._reason(reason))

    def _reason(self, reason: Reason) -> Reason:
        """Return the reason of the end: TOOL_CALLS if the model ended it after tool calls."""
        has_calls = self._reader is not None and self._reader.num_calls > 0
        return Reason.TOOL_CALLS if has_calls and reason is Reason.END else reason
