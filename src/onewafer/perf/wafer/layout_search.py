"""Search for the best layout of a mode: rows of a launch, replicas, regions.

More rows per launch amortise its fixed costs, more launches keep more stages busy. Rows are doubled
as long as that helps, and so are replicas of the whole model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from onewafer.perf.wafer.layouts import Asked, Layout
from onewafer.perf.wafer.options import Mode
from onewafer.perf.wafer.pipeline import Pipelines
from onewafer.perf.wafer.plan import Speed
from onewafer.perf.wafer.search import search_whole
from onewafer.perf.wafer.sketch import Sketch
from onewafer.perf.wafer.system import with_wafers

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.perf.jobs import Job
    from onewafer.perf.wafer.layouts import Demand, Seconds
    from onewafer.perf.wafer.measured import Rectangle
    from onewafer.perf.wafer.region import Regions
    from onewafer.perf.wafer.search import Found, Score
    from onewafer.perf.wafer.system import Machine
    from onewafer.perf.wafer.workload import Load

_CLOSE = 1.1
"""Layouts up to this many times slower than the best are searched again thoroughly."""
FAR = 1.3
"""A mode is dropped if its lower bound exceeds the best layout's seconds times this."""
_MOST_CLOSE = 2
"""Most layouts that are searched again thoroughly."""


@dataclass(frozen=True, slots=True)
class AskedInMode(Asked):
    """A job on a machine in one mode."""

    mode: Mode
    sketches: tuple[Sketch, ...]
    """Sketches of the segments, which any number of sequences shares."""
    is_thorough: bool = False

    def of_replica(self, replicas: int) -> AskedInMode:
        """Return the same for one of `replicas`, with its share of the wafers."""
        return replace(self, machine=with_wafers(self.machine, self.machine.num_wafers // replicas))

    def searcher(self, regions: Regions, near: Rectangle | None) -> Callable[[Score], Found]:
        """Return a search for plans; `near` is a good rectangle for fewer rows."""
        if self.mode is Mode.WHOLE:
            return partial(
                search_whole,
                regions,
                self.machine,
                self.options,
                near=near,
                is_thorough=self.is_thorough,
            )
        pipelines = Pipelines(regions, self.machine, self.options, self.sketches)
        return partial(pipelines.search, is_thorough=self.is_thorough)


@dataclass(slots=True)
class Best:
    """The best layout so far, and the number of layouts considered."""

    layout: Layout | None = None
    num_considered: int = 0
    met: list[Layout] = field(default_factory=list["Layout"])
    """All layouts found."""

    @property
    def seconds(self) -> float:
        """Seconds of the job; infinite without a layout."""
        return math.inf if self.layout is None else self.layout.seconds

    def take(self, found: Best) -> bool:
        """Adopt a better result; tell whether to search on in this direction."""
        self.num_considered += found.num_considered
        self.met += found.met
        if self.layout is not None and found.seconds >= self.seconds:
            return False
        self.layout = found.layout
        return True


def lay_out(asked: Asked, *, mode: Mode, of_other_mode: Layout | None = None) -> Layout | None:
    """Return the best layout of a mode, None if nothing fits.

    A mode far behind `of_other_mode` is not searched thoroughly. On one wafer all times of a search
    are cycles, so that its result holds for every clock and off-wafer link: it is cached with the
    programs.
    """
    job = asked.demand.job
    if asked.machine.num_wafers > 1 or job is None:
        limit = math.inf if of_other_mode is None else FAR * of_other_mode.seconds
        return _best_layout(asked, mode, limit)
    limit = math.inf if of_other_mode is None else FAR * of_other_mode.seconds_at_any_clock
    return _at_clock(_kept_layout(asked, job, mode, limit), asked.machine)


_ANY_HERTZ = 1e9
"""The clock of searches whose result does not depend on the clock."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """A cached result of a search."""

    layout: Layout | None


def _kept_layout(asked: Asked, job: Job, mode: Mode, limit: float) -> Layout | None:
    """Return the best layout at `_ANY_HERTZ`, cached by wafer and job."""
    architecture = asked.machine.architecture
    key = (
        job,
        mode,
        limit,
        replace(asked.options, clock_hertz=None, variant=""),
        (architecture.fabric_width, architecture.fabric_height, architecture.memory_bytes),
    )
    programs = asked.programs.of(
        asked.model, asked.demand.load, architecture=architecture, options=asked.options
    )
    at_any = replace(asked, machine=replace(asked.machine, clock_hertz=_ANY_HERTZ))
    return programs.keep(_Kept, key, lambda: _Kept(_best_layout(at_any, mode, limit))).layout


def _at_clock(layout: Layout | None, machine: Machine) -> Layout | None:
    if layout is None:
        return None
    seconds = layout.seconds * _ANY_HERTZ / machine.clock_hertz
    return replace(layout, machine=machine, seconds=seconds, seconds_at_any_clock=layout.seconds)


def _best_layout(asked: Asked, mode: Mode, limit: float) -> Layout | None:
    """Return the best layout of a mode, searched thoroughly unless it is beyond a limit."""
    tried = [
        _lay_out(in_mode(replace(asked, demand=one), mode), limit)
        for one in asked.demand.in_forms()
    ]
    best = min(tried, key=lambda one: one.seconds)
    considered = sum(one.num_considered for one in tried)
    return best.layout and replace(best.layout, num_considered=considered)


def in_mode(asked: Asked, mode: Mode) -> AskedInMode:
    """Return the job in one mode, with empty sketches."""
    sketches = tuple(Sketch() for _ in asked.model.segments)
    return AskedInMode(
        asked.model,
        asked.demand,
        asked.machine,
        asked.options,
        asked.programs,
        mode,
        sketches,
    )


def _lay_out(asked: AskedInMode, limit: float) -> Best:
    """Return the best layout in one form, searched thoroughly unless it is beyond a limit."""
    best = replicated(asked, asked.demand.sequences)
    if best.seconds <= limit:
        best.take(refined(asked, best))
    return best


def refined(asked: AskedInMode, quick: Best) -> Best:
    """Search thoroughly for the loads of the best layouts of a quick search."""
    best = Best()
    close = [one for one in quick.met if one.seconds <= _CLOSE * quick.seconds]
    searches: dict[tuple[Load, int], Layout] = {}
    for one in sorted(close, key=lambda layout: layout.seconds):
        searches.setdefault((one.regions.load, one.replicas), one)
    for (load, replicas), one in islice(searches.items(), _MOST_CLOSE):
        of_replica = replace(asked.of_replica(replicas), is_thorough=True)
        best.take(_searched(of_replica, load, replicas, one.only_rectangle))
    return best


def replicated(asked: AskedInMode, sequences: int) -> Best:
    """Search with 1, 2, 4 … replicas as long as that helps."""
    best, replicas = Best(), 1
    while replicas <= min(asked.machine.num_wafers, sequences):
        share = sequences // replicas if asked.demand.can_wait else -(-sequences // replicas)
        found = _doubled(asked.of_replica(replicas), share, replicas)
        if not best.take(found):
            break
        replicas *= 2
    return best


def _doubled(asked: AskedInMode, sequences: int, replicas: int) -> Best:
    """Search with more and more rows per launch as long as that helps."""
    best = Best()
    near: Rectangle | None = None
    for load in asked.demand.loads(sequences):
        found = _searched(asked, load, replicas, near)
        if not best.take(found) or found.layout is None:
            break
        near = found.layout.only_rectangle
    return best


def _searched(asked: AskedInMode, load: Load, replicas: int, near: Rectangle | None) -> Best:
    """Return the best layout for a load by any score; `near` is a good rectangle for fewer rows."""
    demand, regions, best = asked.demand, asked.regions(load), Best()
    launches = demand.launches_of(load.sequences, load.rows)
    search = asked.searcher(regions, near)
    for seconds in demand.scores:

        def score(latency: float, period: float, seconds: Seconds = seconds) -> float:
            return seconds(Speed(latency, period), load, launches)

        found = search(score)
        one = Best(num_considered=found.num_considered)
        if found.plan is not None:
            layout = Layout(
                found.plan, regions, asked.machine, replicas, launches, found.seconds, 0
            )
            one.layout = judged(layout, demand)
            one.met += [one.layout] if one.layout else []
        best.take(one)
    return best


def judged(layout: Layout, demand: Demand) -> Layout | None:
    """Return a layout with the job's seconds on it; None if it cannot do the job."""
    if demand.seconds_of is None:
        return layout
    seconds = demand.seconds_of(layout)
    return None if math.isinf(seconds) else replace(layout, seconds=seconds)
