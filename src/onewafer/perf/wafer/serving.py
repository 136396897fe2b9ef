"""Lay a model over wafers for serving; some requests may wait for others.

The number of places for requests is a rung of a ladder, 1, 2, 3, 4, 6, 8, 12 …, the same for all
jobs. Rungs are searched in ascending order, with all places taken, as long as more places help. A
job takes the best rung up to the first with a place for each of its requests, where some places may
stay empty. So a job with more requests has all choices of one with fewer, and never a lower rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING

from onewafer.perf.wafer.layout_search import (
    FAR,
    Best,
    in_mode,
    judged,
    refined,
    replicated,
)
from onewafer.perf.wafer.plan import Plan, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onewafer.perf.jobs import Serve
    from onewafer.perf.wafer.layout_search import AskedInMode
    from onewafer.perf.wafer.layouts import Asked, Demand, Layout
    from onewafer.perf.wafer.options import Mode

_CLOSE = 1.05
"""Rungs up to this many times slower than the best are searched thoroughly."""
_OCTAVE = 2
"""Rungs until the places double; the search ends if none of them helps."""


def lay_out_requests(
    asked: Asked, job: Serve, *, mode: Mode, of_other_mode: Layout | None = None
) -> Layout | None:
    """Return the best layout of a mode, None if nothing fits.

    A mode far behind `of_other_mode` is not searched thoroughly.
    """
    limit = math.inf if of_other_mode is None else FAR * of_other_mode.seconds
    tried = [
        _ladder(replace(asked, demand=demand), job, mode).best(job.concurrency, limit)
        for demand in asked.demand.in_forms()
    ]
    best = min(tried, key=lambda one: one.seconds)
    considered = sum(one.num_considered for one in tried)
    return best.layout and replace(best.layout, num_considered=considered)


def places() -> Iterator[int]:
    """Yield the rungs of all ladders: powers of two, and one and a half times each.

    >>> from itertools import islice
    >>> [*islice(places(), 8)]
    [1, 2, 3, 4, 6, 8, 12, 16]
    """
    yield 1
    for power in count(1):
        yield 1 << power
        yield 3 << power - 1


@dataclass(slots=True)
class Ladder:
    """The rungs of one model for one kind of requests in one mode, searched on demand.

    A rung depends neither on the jobs that asked for it nor on other rungs.
    """

    asked: Asked
    mode: Mode
    _rungs: list[_Rung] = field(default_factory=list["_Rung"])

    def best(self, requests: int, limit: float) -> Best:
        """Return the best layout for a number of requests.

        All rungs are searched quickly; those close to the best are then searched thoroughly, unless
        the best takes longer than `limit`.
        """
        best, rungs = Best(), [*self._up_to(requests)]
        for rung in rungs:
            best.take(rung.quick(requests))
        if best.seconds > limit:
            return best
        close = [rung for rung in rungs if rung.seconds <= _CLOSE * best.seconds]
        for rung in close:
            best.take(rung.thorough(requests))
        return best

    def _up_to(self, requests: int) -> Iterator[_Rung]:
        """Yield rungs in ascending order while they help, up to a place for each request."""
        least, last = math.inf, 0
        for number, size in enumerate(places()):
            if number == len(self._rungs):
                self._rungs.append(_Rung.of(self.asked, self.mode, size))
            rung = self._rungs[number]
            yield rung
            if rung.seconds < least:
                least, last = rung.seconds, number
            if size >= requests or number >= last + _OCTAVE:
                return


def _ladder(asked: Asked, job: Serve, mode: Mode) -> Ladder:
    """Return the ladder, cached for jobs that differ only in the number of requests."""
    machine, options = asked.machine, asked.options
    known = asked.programs.of(
        asked.model, asked.demand.load, architecture=machine.architecture, options=options
    )
    key = (replace(job, concurrency=1), mode, machine.system.name, machine.num_wafers, options)
    return known.keep(Ladder, key, lambda: Ladder(asked, mode))


@dataclass(slots=True)
class _Rung:
    """The layouts for one number of places, searched with all places taken."""

    asked: AskedInMode
    found: Best
    _thorough: Best | None = None

    @classmethod
    def of(cls, asked: Asked, mode: Mode, size: int) -> _Rung:
        """Return a rung of `size` places, after a quick search."""
        demand = replace(asked.demand, sequences=size, most_rows=size)
        of_size = in_mode(replace(asked, demand=demand), mode)
        return cls(of_size, replicated(of_size, size))

    @property
    def seconds(self) -> float:
        """Seconds of a request if all places are taken; infinite if nothing fits."""
        return self.found.seconds

    def quick(self, requests: int) -> Best:
        """Return the best layout of the quick search for a number of requests."""
        return self._taken(self.found, requests)

    def thorough(self, requests: int) -> Best:
        """Return the best layout after a thorough search for a number of requests."""
        if self._thorough is None:
            self._thorough = refined(self.asked, self.found)
        return self._taken(self._thorough, requests)

    def _taken(self, found: Best, requests: int) -> Best:
        """Return the best of the layouts found, with at most `requests` places taken."""
        best = Best(num_considered=found.num_considered)
        for layout in found.met:
            for taken in _with_requests(layout, requests, self.asked.demand):
                best.take(Best(layout=taken))
        return best


def _with_requests(layout: Layout, requests: int, demand: Demand) -> Iterator[Layout]:
    """Yield the layout with at most `requests`: only full launches, and all requests."""
    share, rows = requests // layout.replicas, layout.regions.load.rows
    if share >= layout.sequences:
        yield layout
        return
    for sequences in {share // rows * rows, share} - {0}:
        load = replace(layout.regions.load, sequences=sequences)
        regions = layout.regions.with_load(load, layout.machine)
        stages = [
            (regions.cost(one.cost.work, one.cost.rectangle), one.site)
            for one in layout.plan.stages
        ]
        plan = Plan(layout.plan.mode, tuple(Stage(cost, site) for cost, site in stages if cost))
        launches = -(-sequences // rows)
        emptier = replace(layout, plan=plan, regions=regions, launches=launches)
        if (taken := judged(emptier, demand)) is not None:
            yield taken
