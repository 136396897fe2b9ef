"""The thread of the engine: what it does, in which order."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from onewafer.server.engine.thread import EngineThread

if TYPE_CHECKING:
    from onewafer.server.engine.engine import Engine
    from onewafer.server.engine.mailbox import Outbox


@dataclass(slots=True)
class _Recorder:
    """An engine and an outbox that note when they are called."""

    notes: list[str] = field(default_factory=list[str])
    is_done: threading.Event = field(default_factory=threading.Event)

    def run_once(self) -> None:
        """Note a step."""
        self.notes.append("step")
        if "work" in self.notes:
            self.is_done.set()

    def flush(self) -> None:
        """Note a flush."""
        self.notes.append("flush")


def test_what_work_says_is_sent_before_the_model_makes_a_step() -> None:
    recorder = _Recorder()
    thread = EngineThread(cast("Engine", recorder), cast("Outbox", recorder))
    thread.do(lambda: recorder.notes.append("work"))
    assert recorder.is_done.wait(10)
    thread.stop()
    place = recorder.notes.index("work")
    assert recorder.notes[place : place + 3] == ["work", "flush", "step"]
