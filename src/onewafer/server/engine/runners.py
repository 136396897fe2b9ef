"""Who calls the engine: a thread of its own, or the event loop between two turns of its own."""

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
"""The loop reads and writes again after so long, and whatever step of the engine it is in."""
LEAST_SLEEP_SECONDS = 0.001
"""Event loops count milliseconds: with less to wait they would not sleep at all."""
_logger = logging.getLogger(__name__)


class EngineThread:
    """Runs an engine whose steps take long, and leave the interpreter to the event loop."""

    def __init__(self, engine: Engine, outbox: Outbox) -> None:
        self._engine = engine
        self._outbox = outbox
        self._work: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="onewafer-engine", daemon=True)
        self._thread.start()

    def do(self, work: Callable[[], object]) -> None:
        """Let the thread call something between two steps."""
        self._work.put(work)

    def stop(self) -> None:
        """End the thread, and wait for it."""
        self._work.put(None)
        self._thread.join()

    def _run(self) -> None:
        wait: float | None = 0.0
        while True:
            try:
                if not self._do_work(wait):
                    return
                self._outbox.flush()  # who is refused does not wait for a step of the model
                wait = self._engine.run_once()
            except Exception as error:  # noqa: BLE001  # a request must not end the server
                _break_off(self._engine, error)
                wait = None
            self._outbox.flush()

    def _do_work(self, wait: float | None) -> bool:
        """Do what others asked for, after waiting for it; return whether to go on."""
        try:
            work = self._work.get_nowait() if wait == 0 else self._work.get(timeout=wait)
            while work is not None:
                work()
                work = self._work.get_nowait()
        except queue.Empty:
            return True
        return False


class EngineTurns:
    """Runs an engine whose steps are short in the event loop, a few milliseconds at a turn.

    A thread would do it no sooner: only one of the two could run, and each hand-over of the
    interpreter costs more than a token that is made up.
    """

    def __init__(self, engine: Engine, outbox: Outbox) -> None:
        self._engine = engine
        self._outbox = outbox
        self._work: deque[Callable[[], object]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._next: asyncio.Handle | None = None
        """The turn that the loop will call."""
        self._is_soon = False
        """True if it comes without a sleep."""

    def do(self, work: Callable[[], object]) -> None:
        """Let the next turn, which is soon, begin by calling something."""
        self._work.append(work)
        self._call(0.0)

    def stop(self) -> None:
        """End without another turn."""
        if self._next is not None:
            self._next.cancel()

    def _call(self, wait: float) -> None:
        """Have the loop call the next turn; it sleeps before if there is nothing to do at once."""
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
        """Do what others asked for, and steps until the turn is over; return how long to wait."""
        work, over = self._work, seconds_running() + TURN_SECONDS
        while work:
            work.popleft()()
        wait = self._engine.run_once()
        while wait == 0 and seconds_running() < over:
            wait = self._engine.run_once()
        return wait


Runner: TypeAlias = EngineThread | EngineTurns


def _break_off(engine: Engine, error: Exception) -> None:
    """Tell everyone who waits that the engine has failed."""
    _logger.error("the engine has a bug", exc_info=error)
    try:
        engine.fail_all(BrokenError("the server has a bug; its log says more"))
    except Exception:  # else the runner ends, and all clients wait
        _logger.exception("the engine cannot end its requests")
