"""Time and energy of a finished run's work on other systems.

In: the model of a run and a job of its size. Out: an answer of each system. Where devices cannot
share the batch evenly, the batch is padded, as scripts pad their last batch there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onewafer.arch import find_cluster
from onewafer.perf.answer import Answer, Refusal
from onewafer.perf.compare import compare
from onewafer.perf.gpu import nearest_batches
from onewafer.perf.jobs import Train
from onewafer.perf.known_errors import known_error
from onewafer.perf.wafer import parse_system

if TYPE_CHECKING:
    from onewafer.perf.compare import CompareOptions
    from onewafer.perf.jobs import Job
    from onewafer.perf.known_errors import KnownError
    from onewafer.perf.model import Model


@dataclass(frozen=True, slots=True)
class SameWork:
    """One piece of work, a step, a pass or a token of each sequence, on another system."""

    answer: Answer | Refusal
    batch: int
    """Sequences or samples of the batch, padding included."""
    error: KnownError | None
    """The known error of such answers; None: nothing of the kind was published."""


def repeat_on(model: Model, job: Job, system: str, options: CompareOptions) -> SameWork:
    """Return what a job takes on a system, under the fastest batch that fits.

    Raises ConfigurationError for an unknown system, or a job that the model cannot do.
    """
    error = known_error(model, job, system)
    tried: list[SameWork] = []
    for one in _batches(model, job, system):
        (answer,) = compare(model, one, [system], options).results
        tried.append(SameWork(answer, getattr(one, "batch", 1), error))
    return min(tried, key=_seconds)


def _seconds(work: SameWork) -> float:
    answer = work.answer
    return answer.breakdown.seconds if isinstance(answer, Answer) else math.inf


def _batches(model: Model, job: Job, system: str) -> list[Job]:
    """Return the job, or for training the jobs whose padded batch the devices share evenly."""
    if not isinstance(job, Train):
        return [job]
    sizes = {job.batch}
    wafers, cluster = parse_system(system), find_cluster(system)
    if wafers is not None:
        sizes = {_filled_up(job.batch, wafers.num_wafers)}
    elif cluster is not None:
        sizes.add(_filled_up(job.batch, cluster.count))
        sizes.add(1 << (job.batch - 1).bit_length())
        sizes |= {size for size in nearest_batches(model, job, cluster) if size > job.batch}
    sequence = job.sequence
    return [
        replace(job, batch=size, tokens=max(job.tokens, size * sequence)) for size in sorted(sizes)
    ]


def _filled_up(batch: int, devices: int) -> int:
    """Round a batch up to a multiple of the number of devices.

    >>> _filled_up(62, 8), _filled_up(64, 8)
    (64, 64)
    """
    return -(-batch // devices) * devices
