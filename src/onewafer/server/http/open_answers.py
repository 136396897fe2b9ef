"""The answers that are being written: what a drain waits for, and what is kept open by pings."""

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
    """All answers of a server that are being written."""

    def __init__(self, ping_seconds: float) -> None:
        self.is_draining = False
        """True if new requests are refused, because the server ends."""
        self._ping_seconds = ping_seconds
        self._answers: set[Answer] = set()
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    @property
    def num_open(self) -> int:
        """Answers that are being written."""
        return len(self._answers)

    async def run(self, answer: Answer, receive: Receive) -> None:
        """Write an answer for as long as its client is there.

        Raises GoneError if the client goes before the end.
        """
        self._answers.add(answer)
        self._is_idle.clear()
        try:
            await run_until_gone(answer.run(), receive)
        finally:
            self._answers.discard(answer)
            if not self._answers:
                self._is_idle.set()

    def cut(self) -> None:
        """Break off every answer."""
        for answer in tuple(self._answers):
            answer.cut()

    async def ping_forever(self) -> None:
        """Keep silent streams open."""
        while True:
            await asyncio.sleep(self._ping_seconds)
            for answer in tuple(self._answers):
                answer.ping()

    async def wait_until_none(self, seconds: float) -> None:
        """Wait until every answer is written, but no longer than some seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._is_idle.wait(), seconds)


async def run_until_gone(work: Coroutine[None, None, None], receive: Receive) -> None:
    """Run something for a client, whose body was read; stop when the client goes.

    Raises GoneError if it went before the end.
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
