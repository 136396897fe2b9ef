"""Writing the answer to one request while the service computes it."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from itertools import chain
from typing import TYPE_CHECKING

from onewafer.server.contract.clock import seconds_running
from onewafer.server.contract.events import CallDelta, Completed, Delta, Ended
from onewafer.server.contract.failures import BrokenError, RequestError, UnavailableError
from onewafer.server.dialects.gathered import Gathered
from onewafer.server.dialects.writing import to_body

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from onewafer.server.contract.events import Event
    from onewafer.server.contract.service import Service
    from onewafer.server.dialects.dialect import Asked
    from onewafer.server.http.exchange import Exchange
    from onewafer.server.http.metrics import Metrics

WRITES_AT_A_TIME = 16
"""Writes between two yields to the event loop, if all events of a stream are ready."""
_STREAM_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}
_logger = logging.getLogger(__name__)


class Answer:
    """One answer, streamed or whole."""

    def __init__(
        self, asked: Asked, exchange: Exchange, *, service: Service, metrics: Metrics
    ) -> None:
        self._asked = asked
        self._exchange = exchange
        self._service = service
        self._metrics = metrics
        self._task: asyncio.Task[None] | None = None
        self._ping: asyncio.Task[None] | None = None
        self._is_cut = False
        self._is_writing = False
        self._num_writes = 0
        self._num_writes_at_ping = 0
        self._last_token: float | None = None

    async def run(self) -> None:
        """Write the answer.

        Raises RequestError if the request is refused, or if an answer that is not streamed fails.
        """
        self._task = asyncio.current_task()
        try:
            async with aclosing(self._service.answer(self._asked.generation)) as items:
                await (self._stream(items) if self._asked.is_streamed else self._whole(items))
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  # reported to the client
            failure = self._failure(error)
            if failure is None or not self._exchange.status:
                raise failure or error from None
            self._exchange.outcome = failure.code or "failed"
            await self._exchange.write(self._asked.writer.fail(failure))
            await self._exchange.close()
        finally:
            if self._ping is not None:  # a slow client may not have read it
                self._ping.cancel()

    def ping(self) -> None:
        """Start to write a ping if the answer is streamed, and silent since the last call."""
        is_silent = self._num_writes == self._num_writes_at_ping
        self._num_writes_at_ping = self._num_writes
        is_begun = self._asked.is_streamed and self._exchange.status and self._task is not None
        is_free = not self._is_writing and (self._ping is None or self._ping.done())
        if is_silent and is_begun and is_free:
            written = self._exchange.write(self._asked.writer.ping())
            self._ping = asyncio.create_task(written)

    def cut(self) -> None:
        """Abort the answer; the client gets an error."""
        if self._task is not None:
            self._is_cut = True
            self._task.cancel()

    def _failure(self, error: BaseException) -> RequestError | None:
        """Return the error for the client; None: the client has disconnected."""
        match error:
            case RequestError():
                return error
            case asyncio.CancelledError():
                return UnavailableError("the server ends") if self._is_cut else None
            case _:
                _logger.error("request %s broke off", self._exchange.id, exc_info=error)
                return BrokenError("the server has a bug; its log says more")

    async def _stream(self, items: AsyncGenerator[Sequence[Event], None]) -> None:
        exchange, writer = self._exchange, self._asked.writer
        async for events in items:
            if not exchange.status:
                await exchange.begin(200, "text/event-stream; charset=utf-8", _STREAM_HEADERS)
            self._note(events)
            text = writer.write(joined(events))
            if exchange.completed is not None:
                self._is_writing = True  # no ping may follow the end
                await exchange.close(text)
            elif text:
                self._is_writing = True
                await exchange.write(text)
                self._is_writing = False
                self._num_writes += 1
                if self._num_writes % WRITES_AT_A_TIME == 0:
                    await asyncio.sleep(0)

    async def _whole(self, items: AsyncGenerator[Sequence[Event], None]) -> None:
        gathered = Gathered(self._asked.generation.total_answers)
        num_items = 0
        async for events in items:
            self._note(events)
            gathered.add(events)
            num_items += 1
            if num_items % WRITES_AT_A_TIME == 0:
                await asyncio.sleep(0)
        await self._exchange.respond(200, to_body(self._asked.writer.whole(gathered)))

    def _note(self, events: Sequence[Event]) -> None:
        """Update the metrics and the times of this computer."""
        num_tokens, completed = 0, None
        for event in events:
            match event:
                case Delta():
                    num_tokens += len(event.tokens)
                case CallDelta():
                    num_tokens += 1
                case Ended():
                    self._metrics.count_end(event.reason)
                case Completed():
                    completed = event
                case _:
                    pass
        if num_tokens:
            self._note_tokens(num_tokens)
        if completed is not None:
            self._note_end(completed)

    def _note_end(self, completed: Completed) -> None:
        exchange = self._exchange
        exchange.completed = completed
        total_seconds = seconds_running() - exchange.began
        self._metrics.count_request(
            completed,
            ttft_seconds=exchange.ttft_seconds or total_seconds,
            total_seconds=total_seconds,
        )

    def _note_tokens(self, num_tokens: int) -> None:
        now = seconds_running()
        if self._last_token is None:
            self._exchange.ttft_seconds = now - self._exchange.began
        else:
            self._metrics.observe_host_gaps((now - self._last_token) / num_tokens, num_tokens)
        self._last_token = now


def joined(events: Sequence[Event]) -> Sequence[Event]:
    """Merge consecutive deltas of an answer.

    A client gets fewer and larger chunks: wafers write thousands of tokens a second, and an event
    loop wakes up a few hundred times.

    >>> one, two = (Delta(answer=0, text=text, tokens=(i,)) for i, text in enumerate("ab"))
    >>> [joined] = joined([one, two])
    >>> joined.text, joined.tokens
    ('ab', (0, 1))
    """
    if len(events) < 2:  # noqa: PLR2004  # two neighbours
        return events
    result: list[Event] = []
    run: list[Delta] = []
    """Consecutive deltas of one answer, not yet in the result."""
    for event in events:
        if isinstance(event, Delta):
            if run and run[-1].answer != event.answer:
                result.append(_join(run))
                run = []
            run.append(event)
        else:
            if run:
                result.append(_join(run))
                run = []
            result.append(event)
    return [*result, _join(run)] if run else result


def _join(deltas: Sequence[Delta]) -> Delta:
    if len(deltas) == 1:
        return deltas[0]
    return Delta(
        answer=deltas[0].answer,
        text="".join([delta.text for delta in deltas]),
        tokens=tuple(chain.from_iterable([delta.tokens for delta in deltas])),
        logprobs=tuple(chain.from_iterable([delta.logprobs for delta in deltas])),
    )
