"""Who calls the engine: what it does, in which order."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from onewafer.server.engine.runners import EngineThread, EngineTurns

if TYPE_CHECKING:
    from collections.abc import Callable

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


@dataclass(slots=True)
class _Steps:
    """An engine whose steps return, or raise, what a test says."""

    step: Callable[[], float | None]
    count: int = 0
    failures: list[Exception] = field(default_factory=list[Exception])

    def run_once(self) -> float | None:
        """Count a step."""
        self.count += 1
        return self.step()

    def fail_all(self, error: Exception) -> None:
        """Note an error."""
        self.failures.append(error)

    def deliver(self) -> None:
        """Do nothing."""


async def _begin(steps: _Steps, *, num_passes: int) -> None:
    """Let the loop go round some times with an engine in it."""
    turns = EngineTurns(cast("Engine", steps), cast("Outbox", steps))
    turns.do(lambda: None)
    for _ in range(num_passes):
        await asyncio.sleep(0)
    turns.stop()


def test_an_engine_that_always_has_more_to_do_leaves_turns_to_the_loop() -> None:
    steps = _Steps(step=lambda: 0.0)
    asyncio.run(asyncio.wait_for(_begin(steps, num_passes=5), 60))
    assert steps.count >= 5


def test_a_wait_that_is_shorter_than_a_sleep_of_the_loop_is_a_sleep() -> None:
    steps = _Steps(step=lambda: 1e-9)
    asyncio.run(_begin(steps, num_passes=100))
    assert steps.count < 50, "the loop goes round without a rest"


def test_a_bug_of_the_engine_is_told_to_everyone_and_is_not_the_end_of_turns() -> None:
    results = iter((RuntimeError("bug"), None))

    def step() -> None:
        if (error := next(results)) is not None:
            raise error

    steps = _Steps(step=step)

    async def go() -> None:
        turns = EngineTurns(cast("Engine", steps), cast("Outbox", steps))
        for _ in range(2):
            turns.do(lambda: None)
            await asyncio.sleep(0)

    asyncio.run(go())
    assert (steps.count, len(steps.failures)) == (2, 1)


def test_turns_go_on_in_another_loop() -> None:
    steps = _Steps(step=lambda: None)
    turns = EngineTurns(cast("Engine", steps), cast("Outbox", steps))

    async def ask(*, and_wait: bool) -> None:
        turns.do(lambda: None)
        if and_wait:
            await asyncio.sleep(0)

    asyncio.run(ask(and_wait=True))
    asyncio.run(ask(and_wait=False))  # its loop ends before the turn
    asyncio.run(ask(and_wait=True))
    assert steps.count >= 2
