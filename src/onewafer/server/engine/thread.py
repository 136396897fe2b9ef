"""The thread that runs the engine; others give it work."""

from __future__ import annotations

import logging
import queue
import threading
from typing import TYPE_CHECKING

from onewafer.server.failures import BrokenError

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.server.engine.engine import Engine
    from onewafer.server.engine.mailbox import Outbox

_logger = logging.getLogger(__name__)


class EngineThread:
    """Runs an engine; other threads give it work."""

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
            except Exception:  # a request must not end the server
                _logger.exception("the engine has a bug")
                wait = None
                self._break_off()
            self._outbox.flush()

    def _break_off(self) -> None:
        """Tell everyone who waits that the engine has failed."""
        try:
            self._engine.fail_all(BrokenError("the server has a bug; its log says more"))
        except Exception:  # else the thread ends, and all clients wait
            _logger.exception("the engine cannot end its requests")

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
