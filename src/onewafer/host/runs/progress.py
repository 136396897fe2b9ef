"""The progress of a run, as reported to observers.

A `Reporter` reads the machine's counters at most once an interval, and less often if that takes
long, so that reports take at most a hundredth of a run's time.
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
    """Returns seconds since an arbitrary moment."""

_LARGEST_SHARE = 0.01
"""The most that reports may take of a run's time."""
_NUM_SHOWN = 3


@dataclass(frozen=True, slots=True)
class RunProgress:
    """The progress of one launch, or of the start-up, of a machine."""

    what: str
    """The name of the run: `the launch of 'f'`."""
    cycle: int
    """Cycle of the machine."""
    passed_cycles: int
    """Cycles of this run."""
    active_pes: int
    """PEs that worked since the last report."""
    wavelets_per_second: float
    """Wavelets over links between PEs, per second of the host, since the last report."""
    elapsed_seconds: float
    """Since the run began, on the host's clock."""
    activity: str
    """The PEs that work and their places in the source."""


class RunObserver:
    """Base of observers of runs, such as a progress line; this one shows nothing."""

    interval_seconds: float = math.inf
    """The least time between two reports; infinite: no reports."""

    def say(self, line: str) -> None:
        """Show a message that is not about progress."""

    def show(self, progress: RunProgress) -> None:
        """Show the progress of the run."""

    def done(self) -> None:
        """End the display: the run is over, successfully or not."""


SILENT = RunObserver()


class Reporter:
    """Reports the progress of one run to one observer."""

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
        """Report if the interval has passed."""
        now = self._clock()
        if now < self._next_at:
            return
        self._observer.show(self._progress(now))
        self._reported_at = now
        cost = self._clock() - now
        self._next_at = now + max(self._observer.interval_seconds, cost / _LARGEST_SHARE)

    def activity(self) -> str:
        """Return the PEs that worked since the last report, and their places in the source."""
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
        """Return the activity since the last report."""
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
