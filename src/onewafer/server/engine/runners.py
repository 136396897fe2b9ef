"""Callers of the engine: a thread of its own, or the event loop."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections import deque
from typing import TYPE_CHECKING, TypeAlias

from onewafer.server.contract.clock import seconds_running
from onewafer.server.contract.failures import BrokenError

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.server.engine.engine import Engine
    from onewafer.server.engine.mailbox import Outbox

TURN_SECONDS = 0.002
"""The longest turn of the engine in the event loop, apart from its last step."""
LEAST_SLEEP_SECONDS = 0.001
"""Event loops have a resolution of milliseconds: for less they would not sleep at all."""
_logger = logging.getLogger(__name__)


class EngineThread:
    """Runs the engine in a thread: for long steps, which release the interpreter lock."""

    def __init__(self, engine: Engine, outbox: Outbox) -> None:
        self._engine = engine
        self._outbox = outbox
        self._work: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="onewafer-engine", daemon=True)
        self._thread.start()

    def do(self, work: Callable[[], object]) -> None:
        """Let the thread call a function between two steps."""
        self._work.put(work)

    def stop(self) -> None:
        """End the thread, and join it."""
        self._work.put(None)
        self._thread.join()

    def _run(self) -> None:
        wait: float | None = 0.0
        while True:
            try:
                if not self._do_work(wait):
                    return
                self._outbox.flush()  # a refusal does not wait for a step of the model
                wait = self._engine.run_once()
            except Exception as error:  # noqa: BLE001  # a request must not end the server
                _break_off(self._engine, error)
                wait = None
            self._outbox.flush()

    def _do_work(self, wait: float | None) -> bool:
        """Wait for queued functions and call them; return False if the thread is to end."""
        try:
            work = self._work.get_nowait() if wait == 0 else self._work.get(timeout=wait)
            while work is not None:
                work()
                work = self._work.get_nowait()
        except queue.Empty:
            return True
        return False


class EngineTurns:
    """Runs the engine in the event loop, a few milliseconds a turn: for short steps.

    A thread would not be faster: only one of the two could run, and passing the interpreter lock
    takes longer than a synthetic token.
    """

    def __init__(self, engine: Engine, outbox: Outbox) -> None:
        self._engine = engine
        self._outbox = outbox
        self._work: deque[Callable[[], object]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._next: asyncio.Handle | None = None
        """The handle of the next turn."""
        self._is_soon = False
        """True if the next turn is called without a delay."""

    def do(self, work: Callable[[], object]) -> None:
        """Call a function at the start of the next turn, which is scheduled at once."""
        self._work.append(work)
        self._call(0.0)

    def stop(self) -> None:
        """Cancel the next turn."""
        if self._next is not None:
            self._next.cancel()

    def _call(self, wait: float) -> None:
        """Schedule the next turn after `wait` seconds."""
        loop = asyncio.get_running_loop()
        if self._is_soon and loop is self._loop:
            return
        if self._next is not None:
            self._next.cancel()
        self._loop, self._is_soon = loop, not wait
        self._next = (
            loop.call_later(max(wait, LEAST_SLEEP_SECONDS), self._turn)
            if wait
            else loop.call_soon(self._turn)
        )

    def _turn(self) -> None:
        self._next, self._is_soon = None, False
        try:
            wait = self._run()
        except Exception as error:  # noqa: BLE001  # a request must not end the server
            _break_off(self._engine, error)
            wait = None
        self._outbox.deliver()
        if self._work or wait is not None:
            self._call(0.0 if self._work else wait or 0.0)

    def _run(self) -> float | None:
        """Call queued functions, then make steps for a turn; return the seconds to wait."""
        work, over = self._work, seconds_running() + TURN_SECONDS
        while work:
            work.popleft()()
        wait = self._engine.run_once()
        while wait == 0 and seconds_running() < over:
            wait = self._engine.run_once()
        return wait


Runner: TypeAlias = EngineThread | EngineTurns


def _break_off(engine: Engine, error: Exception) -> None:
    """Fail all requests after a bug of the engine."""
    _logger.error("the engine has a bug", exc_info=error)
    try:
        engine.fail_all(BrokenError("the server has a bug; its log says more"))
    except Exception:  # the runner must go on, or all clients wait for ever
        _logger.exception("the engine cannot end its requests")
