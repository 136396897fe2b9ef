"""Lay a model over wafers for requests that keep coming, some of which may wait for others.

How many are answered at a time is a rung of a ladder, 1, 2, 3, 4, 6, 8, 12 …, the same for all
jobs. Each rung is searched as if all of its places were taken, from the lowest on, as long as more
places help. A job takes the best rung up to the first that has a place for each of its requests;
there, some places may be empty. So more requests have all the choices that fewer have, and are
never answered at a lower rate.
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
"""Times the seconds of the best rung: up to there a thorough search may make a rung the best."""
_OCTAVE = 2
"""Rungs until there are twice as many places; if none of them helps, no higher one is tried."""


def lay_out_requests(
    asked: Asked, job: Serve, *, mode: Mode, of_other_mode: Layout | None = None
) -> Layout | None:
    """Return the best layout of a mode, None if nothing has room.

    A layout that is far behind another mode's is not searched thoroughly.
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
    """The rungs of one model for one kind of requests in one mode; it grows as jobs ask for more.

    A rung depends neither on the jobs that asked for it nor on other rungs.
    """

    asked: Asked
    mode: Mode
    _rungs: list[_Rung] = field(default_factory=list["_Rung"])

    def best(self, requests: int, limit: float) -> Best:
        """Return the best layout for as many requests.

        First searches are quick; those that came close to the best layout are done thoroughly,
        unless it takes longer than a limit.
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
        """Yield the rungs, few places first, as long as more help or requests have no place."""
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
    """Return the ladder that jobs share which differ in the number of requests alone."""
    machine, options = asked.machine, asked.options
    known = asked.programs.of(
        asked.model, asked.demand.load, architecture=machine.architecture, options=options
    )
    key = (replace(job, concurrency=1), mode, machine.system.name, machine.num_wafers, options)
    return known.keep(Ladder, key, lambda: Ladder(asked, mode))


@dataclass(slots=True)
class _Rung:
    """The layouts for one number of places, all of which are taken."""

    asked: AskedInMode
    found: Best
    _thorough: Best | None = None

    @classmethod
    def of(cls, asked: Asked, mode: Mode, size: int) -> _Rung:
        """Search quickly for layouts with a number of places."""
        demand = replace(asked.demand, sequences=size, most_rows=size)
        of_size = in_mode(replace(asked, demand=demand), mode)
        return cls(of_size, replicated(of_size, size))

    @property
    def seconds(self) -> float:
        """Seconds of a request if all places are taken; infinite if nothing has room."""
        return self.found.seconds

    def quick(self, requests: int) -> Best:
        """Return the best of the layouts that the quick search met, for as many requests."""
        return self._taken(self.found, requests)

    def thorough(self, requests: int) -> Best:
        """Return the same after a thorough search for the loads of the best of them."""
        if self._thorough is None:
            self._thorough = refined(self.asked, self.found)
        return self._taken(self._thorough, requests)

    def _taken(self, found: Best, requests: int) -> Best:
        """Return the best of the layouts where no more places are taken than there are requests."""
        best = Best(num_considered=found.num_considered)
        for layout in found.met:
            for taken in _with_requests(layout, requests, self.asked.demand):
                best.take(Best(layout=taken))
        return best


def _with_requests(layout: Layout, requests: int, demand: Demand) -> Iterator[Layout]:
    """Yield a layout with as many requests at most: in full launches only, and with all of them."""
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
