"""A sweep: compute the points without an outcome, keep every outcome, write the rows."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from onewafer.sweep.executors import Batch
from onewafer.sweep.results.store import is_final, open_store
from onewafer.sweep.studies.points import points_of
from onewafer.sweep.subjects.outcome import Outcome, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from onewafer.sweep.executors import Executor
    from onewafer.sweep.results.store import Store
    from onewafer.sweep.studies.points import Point
    from onewafer.sweep.studies.study import Study
    from onewafer.sweep.subjects.subject import Task

    Report = Callable[[int, int], None]
    """Called with the number of points done and the number of points to compute."""

_LEAST_BATCHES = 8
"""Batches for each worker, so that all end at about the same time."""


@dataclass(slots=True)
class Summary:
    """The state of a sweep."""

    target: Path
    num_points: int
    num_known: int
    """Points whose outcomes were there already."""
    counts: Counter[Status] = field(default_factory=Counter[Status])
    first_failure: str | None = None
    is_whole: bool = True
    """True if every point has an outcome."""


def sweep(
    study: Study,
    folder: Path,
    choose: Callable[[int], Executor],
    *,
    is_fresh: bool = False,
    report: Report,
) -> Summary:
    """Compute the points of a study without an outcome, and write all rows.

    `choose` gets the number of points to compute and returns an executor. Outcomes are kept however
    the sweep ends: on an error or Ctrl-C it writes those that there are.

    Raises ConfigurationError for a study that has no points.
    """
    points = points_of(study)
    with open_store(folder, is_fresh=is_fresh) as store:
        known = {key for key, outcome in store.known.items() if is_final(outcome)}
        missing = [point for point in points if point.key not in known]
        store.write(study, points)
        try:
            _compute(study, missing, store, choose, report)
        finally:
            target = store.write(study, points)
        return _summary(points, store, target, num_known=len(points) - len(missing))


def _compute(
    study: Study,
    missing: list[Point],
    store: Store,
    choose: Callable[[int], Executor],
    report: Report,
) -> None:
    tasks: list[tuple[str, Task]] = []
    by_key = {point.key: point for point in missing}
    for point in missing:
        if isinstance(point.work, Outcome):
            store.keep(point, point.work)
        else:
            tasks.append((point.key, point.work))
    if not tasks:
        return
    report(0, len(tasks))
    executor = choose(len(tasks))
    batches = [*_batches(tasks, most=study.subject.most_together)]
    with closing(executor.outcomes(batches)) as outcomes:
        for done, (key, outcome) in enumerate(outcomes, 1):
            store.keep(by_key[key], outcome)
            report(done, len(tasks))


def _batches(tasks: list[tuple[str, Task]], *, most: int) -> Iterator[Batch]:
    """Yield the tasks in batches, group by group, small enough for all workers to have some."""
    longest = max(1, min(most, len(tasks) // _LEAST_BATCHES))
    by_group = sorted(tasks, key=lambda one: one[1].group)
    for _, of_group in groupby(by_group, key=lambda one: one[1].group):
        together = [*of_group]
        for first in range(0, len(together), longest):
            keys, of_batch = zip(*together[first : first + longest], strict=True)
            yield Batch(keys, of_batch)


def _summary(points: tuple[Point, ...], store: Store, target: Path, *, num_known: int) -> Summary:
    found = Summary(target, len(points), num_known)
    for point in points:
        outcome = store.known.get(point.key)
        if outcome is None:
            found.is_whole = False
            continue
        found.counts[outcome.status] += 1
        if outcome.status is Status.FAILED and found.first_failure is None:
            found.first_failure = outcome.reason
    return found
