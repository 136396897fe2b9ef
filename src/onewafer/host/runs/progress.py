"""The progress of a run, as observers get it.

So that looking never takes a measurable part of a run, a `Reporter` looks at most once an interval,
and less often where looking itself takes long.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.simulator import Activity

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.simulator import Machine

    Clock = Callable[[], float]
    """Returns seconds since some moment."""

_LARGEST_SHARE = 0.01
"""The largest share of a run's time that reports may take."""
_NUM_SHOWN = 3


@dataclass(frozen=True, slots=True)
class RunProgress:
    """How far one launch, or the start-up, of a machine is."""

    what: str
    """Completes "still in …"."""
    cycle: int
    """Cycle of the machine."""
    passed_cycles: int
    """Cycles of this run."""
    active_pes: int
    """PEs that worked since the last report."""
    wavelets_per_second: float
    """Wavelets over links between PEs since the last report, in seconds of the host."""
    elapsed_seconds: float
    """Since the run began, on the host's clock."""
    activity: str
    """Who works and where in the source; completes "at cycle c: "."""


class RunObserver:
    """An observer of runs, for example a progress line; this one ignores what it hears."""

    interval_seconds: float = math.inf
    """How long it wants to hear nothing between two reports."""

    def say(self, line: str) -> None:
        """Hear one sentence, which is not about progress."""

    def show(self, progress: RunProgress) -> None:
        """Hear how far the run is."""

    def done(self) -> None:
        """Hear that the run is over, well or not."""


SILENT = RunObserver()


class Reporter:
    """Tells one observer about one run."""

    def __init__(self, machine: Machine, what: str, observer: RunObserver, clock: Clock) -> None:
        self._machine = machine
        self._what = what
        self._observer = observer
        self._clock = clock
        self._began_at = self._reported_at = clock()
        self._next_at = self._began_at + observer.interval_seconds
        self._start_cycle = machine.cycle
        is_watched = math.isfinite(observer.interval_seconds)
        self._before: Activity | None = machine.activity() if is_watched else None

    def look(self) -> None:
        """Report if it is time to."""
        now = self._clock()
        if now < self._next_at:
            return
        self._observer.show(self._progress(now))
        self._reported_at = now
        cost = self._clock() - now
        self._next_at = now + max(self._observer.interval_seconds, cost / _LARGEST_SHARE)

    def activity(self) -> str:
        """Return who has worked since the last report or the beginning, and where in the source."""
        work = self._since_before(self._machine.activity())
        return _describe(self._machine, work)

    def _progress(self, now: float) -> RunProgress:
        counters = self._machine.activity()
        work = self._since_before(counters)
        self._before = counters
        return RunProgress(
            what=self._what,
            cycle=self._machine.cycle,
            passed_cycles=self._machine.cycle - self._start_cycle,
            active_pes=int(np.count_nonzero(work.steps)),
            wavelets_per_second=work.wavelet_hops / max(now - self._reported_at, 1e-9),
            elapsed_seconds=now - self._began_at,
            activity=_describe(self._machine, work),
        )

    def _since_before(self, now: Activity) -> Activity:
        """Return what was done since the last report."""
        if self._before is None:
            return now
        hops = now.wavelet_hops - self._before.wavelet_hops
        return Activity(now.steps - self._before.steps, hops)


def _describe(machine: Machine, work: Activity) -> str:
    rows, columns = np.nonzero(work.steps)
    if not len(rows):
        return "wavelets move, but no PE works" if work.wavelet_hops else "no PE has begun to work"
    busy = zip(columns[:_NUM_SHOWN].tolist(), rows[:_NUM_SHOWN].tolist(), strict=True)
    shown = "; ".join(f"PE ({x}, {y}) at {machine.describe_place(x, y)}" for x, y in busy)
    more = f" and {len(rows) - _NUM_SHOWN:,} more" if len(rows) > _NUM_SHOWN else ""
    verb = "1 PE works" if len(rows) == 1 else f"{len(rows):,} PEs work"
    return f"{verb}: {shown}{more}"
