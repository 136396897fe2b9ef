"""The open answers: draining waits for them, and pings keep them open."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from onewafer.server.http.body import GoneError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from starlette.types import Receive

    from onewafer.server.http.answer import Answer


class OpenAnswers:
    """All answers that are being written."""

    def __init__(self, ping_seconds: float) -> None:
        self.is_draining = False
        """True if the server shuts down and refuses new requests."""
        self._ping_seconds = ping_seconds
        self._answers: set[Answer] = set()
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    @property
    def num_open(self) -> int:
        """Number of open answers."""
        return len(self._answers)

    async def run(self, answer: Answer, receive: Receive) -> None:
        """Write an answer; raise GoneError if the client disconnects before the end."""
        self._answers.add(answer)
        self._is_idle.clear()
        try:
            await run_until_gone(answer.run(), receive)
        finally:
            self._answers.discard(answer)
            if not self._answers:
                self._is_idle.set()

    def cut(self) -> None:
        """Abort every answer."""
        for answer in tuple(self._answers):
            answer.cut()

    async def ping_forever(self) -> None:
        """Keep silent streams open, until cancelled."""
        while True:
            await asyncio.sleep(self._ping_seconds)
            for answer in tuple(self._answers):
                answer.ping()

    async def wait_until_none(self, seconds: float) -> None:
        """Wait until every answer is complete, at most `seconds`."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._is_idle.wait(), seconds)


async def run_until_gone(work: Coroutine[None, None, None], receive: Receive) -> None:
    """Await `work`, but cancel it and raise GoneError when the client disconnects.

    The body of the request must have been read.
    """
    task = asyncio.current_task()
    assert task is not None, "coroutines run in tasks"
    has_gone = False

    def stop(gone: asyncio.Task[None]) -> None:
        nonlocal has_gone
        if not gone.cancelled():
            has_gone = True
            task.cancel()

    gone = asyncio.create_task(_wait_for_disconnect(receive))
    gone.add_done_callback(stop)
    try:
        await work
    except asyncio.CancelledError:
        if not has_gone:
            raise
        task.uncancel()
        raise GoneError from None
    finally:
        gone.remove_done_callback(stop)
        gone.cancel()


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
