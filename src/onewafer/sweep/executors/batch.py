"""Batches of tasks, and how a worker computes one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from onewafer.errors import InternalError, OnewaferError
from onewafer.process.garbage import rare_collection
from onewafer.sweep.subjects.outcome import failed

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from onewafer.sweep.subjects.outcome import Outcome
    from onewafer.sweep.subjects.subject import Share, Task


@dataclass(frozen=True, slots=True)
class Batch:
    """Tasks that a worker does one after the other."""

    keys: tuple[str, ...]
    tasks: tuple[Task, ...]

    def halves(self) -> tuple[Batch, ...]:
        """Return the two halves of the batch; itself if it has one task."""
        middle = len(self.keys) // 2
        if not middle:
            return (self,)
        return (
            Batch(self.keys[:middle], self.tasks[:middle]),
            Batch(self.keys[middle:], self.tasks[middle:]),
        )


MOST_ENDS = 2
"""Workers that may die while they compute one task alone, before the task counts as failed."""


@dataclass(slots=True)
class Survivors:
    """Retries of batches whose workers died: in halves, down to single tasks."""

    remedy: str
    """The remedy for a task that ends its workers."""
    _ends: Counter[str] = field(default_factory=Counter[str])
    """Key of a task → workers that died while they computed this task alone."""

    def after(self, batch: Batch) -> tuple[tuple[Batch, ...], tuple[tuple[str, Outcome], ...]]:
        """Return the batches to try again, and the outcomes of tasks that have failed."""
        if len(batch.keys) != 1:
            return batch.halves(), ()
        key = batch.keys[0]
        self._ends[key] += 1
        if self._ends[key] < MOST_ENDS:
            return (batch,), ()
        reason = f"its process ended without an answer, {MOST_ENDS} times; {self.remedy}"
        return (), ((key, failed(reason)),)


class Executor(Protocol):
    """Computes batches."""

    def outcomes(self, batches: Sequence[Batch]) -> Generator[tuple[str, Outcome]]:
        """Yield the outcome of each task with its key, in any order."""
        ...


@dataclass(frozen=True, slots=True)
class InProcess(Executor):
    """One worker: this process."""

    share: Share

    def outcomes(self, batches: Sequence[Batch]) -> Generator[tuple[str, Outcome]]:
        """Yield the outcome of each task with its key, in order."""
        with rare_collection():
            for batch in batches:
                for key, task in zip(batch.keys, batch.tasks, strict=True):
                    yield key, outcome_of(task, self.share)


def run_batch(batch: Batch, share: Share) -> list[tuple[str, Outcome]]:
    """Return the outcomes of a batch; worker processes run this function."""
    return [*InProcess(share).outcomes([batch])]


def outcome_of(task: Task, share: Share) -> Outcome:
    """Return the outcome of a task; an error is an outcome, too."""
    try:
        return task.run(share)
    except OnewaferError as error:
        return failed(str(error))
    except MemoryError:
        return failed("there is not enough memory for this point")
    except Exception as error:  # noqa: BLE001  # a bug of ours is the reason of one point, too
        return failed(str(InternalError(f"{type(error).__name__}: {error}")).splitlines()[0])
