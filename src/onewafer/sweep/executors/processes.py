"""Worker processes of this computer, as many as its cores and its memory allow.

A process that dies (out of memory, a crash) takes the batch that it had with it, and Python ends
its siblings. The batches without outcomes go to new processes, those that were under way in halves.
Which of several single tasks ended the processes cannot be told: each is tried again with no other
beside it, and one that ends its process twice so is a failed point.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.errors import ConfigurationError
from onewafer.settings import available_cores, available_memory
from onewafer.sweep.executors.batch import Batch, Executor, Survivors, run_batch
from onewafer.units import format_size

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from onewafer.sweep.subjects.outcome import Outcome
    from onewafer.sweep.subjects.subject import Share


def choose_workers(asked: int | None, *, memory: int, batches: int) -> int:
    """Return how many processes work: what the user asked for, or what fits the computer.

    Raises ConfigurationError if the computer has no memory for as many as were asked for.
    """
    available = available_memory()
    fitting = max(1, available // memory) if available is not None else available_cores()
    if asked is None:
        return max(1, min(available_cores(), fitting, batches))
    if asked > fitting:
        raise ConfigurationError(
            f"{asked} workers of {format_size(memory)} each need {format_size(asked * memory)}; "
            f"{format_size(available or 0)} are available: {fitting} fit"
        )
    return asked


@dataclass(frozen=True, slots=True)
class Processes(Executor):
    """Workers of this computer."""

    workers: int
    share: Share

    def outcomes(self, batches: Sequence[Batch]) -> Generator[tuple[str, Outcome]]:
        waiting, suspects = deque(batches), deque[Batch]()
        survivors = Survivors(_REMEDY)
        while waiting or suspects:
            running: dict[Future[list[tuple[str, Outcome]]], Batch] = {}
            try:
                with self._pool() as pool:
                    yield from self._drain(pool, waiting, self.workers, running)
                    yield from self._drain(pool, suspects, 1, running)
            except BrokenProcessPool:
                beside = len(running) > 1
                for batch in running.values():
                    if beside and len(batch.keys) == 1:
                        suspects.append(batch)
                        continue
                    again, outcomes = survivors.after(batch)
                    (suspects if again == (batch,) else waiting).extendleft(again)
                    yield from outcomes

    def _drain(
        self,
        pool: ProcessPoolExecutor,
        waiting: deque[Batch],
        workers: int,
        running: dict[Future[list[tuple[str, Outcome]]], Batch],
    ) -> Iterator[tuple[str, Outcome]]:
        """Yield outcomes until all batches are done; `running` has those of a broken pool."""
        while waiting or running:
            while waiting and len(running) < workers:
                running[pool.submit(run_batch, waiting[0], self.share)] = waiting[0]
                waiting.popleft()
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                found = future.result()
                del running[future]
                yield from found

    @contextmanager
    def _pool(self) -> Generator[ProcessPoolExecutor]:
        """Yield a pool of processes; an error in the block kills them."""
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(self.workers, mp_context=context, initializer=_begin)
        try:
            yield pool
        except BaseException:
            processes = [*(pool._processes or {}).values()]  # noqa: SLF001  # no face before 3.14
            pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.kill()
            raise
        pool.shutdown()


_REMEDY = "there may be too little memory for it: try --workers 1"


def _begin() -> None:
    """Ignore Ctrl-C, which the parent process handles, and discard what tasks print."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
