"""Choose regions of a pipeline: how many pieces each computes, its sides, and where it lies.

A region's sides are those of a wafer divided by whole numbers, so that equal regions fill it. A few
of the rectangles with enough memory are measured by their mesh programs; a `sketch` fitted to these
estimates the others. The search then needs only these cycles: for each segment it takes the regions
with the least

    cycles of all pieces + price · PEs of all regions,   among those with no stage longer than a cap

for several prices and caps. Each pair gives a plan, which is packed on wafers. A price of zero
favours speed, a high price small regions; in between lies the best use of a fixed number of wafers.
The rectangles of promising plans are measured and the sketch is fitted again, until no estimate is
better than the best fully measured plan.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.mesh import largest_rectangle
from onewafer.perf.wafer.options import Mode
from onewafer.perf.wafer.packing import num_wafers, pack
from onewafer.perf.wafer.plan import Plan, Stage
from onewafer.perf.wafer.rectangles import beside, shares_of_wafer
from onewafer.perf.wafer.search import Found
from onewafer.perf.wafer.sketch import Sketch, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from onewafer.perf.wafer.measured import Rectangle
    from onewafer.perf.wafer.options import WaferOptions
    from onewafer.perf.wafer.region import RegionCost, Regions
    from onewafer.perf.wafer.system import Machine

    Score = Callable[[float, float], float]
    """Seconds, the fewer the better, from the latency of a launch and the longest stage."""
    Floats = NDArray[np.float64]
    Choice = tuple[RegionCost, ...]
    """A way to compute all pieces of a segment: its regions."""

NUM_FIRST = 24
"""Rectangles of a segment that are measured before the first sketch."""
_NUM_FIRST_OF_FEATURE_MAPS = 12
"""The same number if each rectangle has several programs: feature maps on several grids."""
_NUM_AGAIN = 6
"""The same number if the sketch has no points for this number of rows."""
_NUM_MORE = 6
"""Rectangles of a segment that are measured before the sketch is fitted again."""
_LEAST_GAIN = 0.002
"""The least gain, as a share of the best plan's seconds, for which programs are built."""
_LONG = 0.05
"""Segments that take more than this share of a launch's cycles decide about a plan."""
_MOST_ROUNDS = 12
_GROUPS = (1, 2, 3, 4, 6, 8)
"""Pieces of a region."""
SLOTS = (1, 2, 4)
"""Numbers of slots that are tried for a region of other segments than the layers'."""
_REACH = 2
"""Neighbouring lengths on either side of a chosen side that a thorough search tries."""
_NUM_PRICES = 16
_NUM_CAPS = 8
_NUM_PACKED = 256
"""Most plans that are packed, those of the best estimates."""


class Pipelines:
    """The pipelines of one model for one load."""

    def __init__(
        self,
        regions: Regions,
        machine: Machine,
        options: WaferOptions,
        sketches: Sequence[Sketch],
    ) -> None:
        """Measure enough rectangles for each segment's sketch, which further searches refine."""
        self._machine = machine
        self._segments = [
            _Segment(index, regions, sketch, pinned(regions, index, options))
            for index, sketch in enumerate(sketches)
        ]
        for segment in self._segments:
            segment.begin(machine)

    def search(self, score: Score, *, is_thorough: bool = True) -> Found:
        """Return the best plan with a region for each piece or for a few of them.

        A thorough search also measures the neighbours of the chosen rectangles, until none is
        better.
        """
        search = _Search(self._machine, score, self._segments)
        search.run()
        while is_thorough and search.best.plan is not None and search.look_beside():
            before = search.best.seconds
            search.run()
            if not search.best.seconds < before:
                break
        return search.found()


def pinned(regions: Regions, index: int, options: WaferOptions) -> tuple[Rectangle, ...]:
    """Return the rectangle that the user pinned for the layers; () for other segments."""
    is_layers = regions.segments[index].repeats > 1 or len(regions.segments) == 1
    return (options.region,) if options.region is not None and is_layers else ()


def choices(index: int, regions: Regions, rectangle: Rectangle) -> Iterator[Choice]:
    """Yield ways to divide a segment's pieces: equal regions, the last with the rest."""
    repeats = regions.segments[index].repeats
    for group in groups(repeats):
        full, rest = divmod(repeats, group)
        cost = regions.cost(((index, group),), rectangle)
        if cost is None:
            break
        last = [regions.cost(((index, rest),), rectangle)] if rest else []
        yield (*[cost] * full, *(c for c in last if c is not None))


def groups(repeats: int) -> tuple[int, ...]:
    """Return the group sizes: numbers of a segment's pieces that a region may have."""
    return tuple(dict.fromkeys(min(size, repeats) for size in _GROUPS))


@dataclass(frozen=True, slots=True)
class _Table:
    """All choices of a segment as arrays: for each group size, all rectangles."""

    cycles: Floats
    """Cycles of all pieces; infinite if they do not fit."""
    slowest: Floats
    """Cycles of the longest stage."""
    pes: Floats
    """PEs of all regions."""
    sides: NDArray[Any]
    """Sides of a region, `[choices, 2]`."""
    num_regions: NDArray[Any]
    starts: Sequence[int]
    """The first index of each group size's choices, and the end of all."""
    front: NDArray[np.intp]
    """The Pareto front: choices that no other of the same group size beats in both PEs and
    cycles."""
    fastest: Sequence[_Slots]
    """The fastest choice in a slot, by group size."""
    roomiest: Sequence[_Slots]
    """The largest choice in a slot, by group size."""

    @property
    def num_sizes(self) -> int:
        """Number of group sizes."""
        return len(self.starts) - 1

    def rectangle(self, index: int) -> Rectangle:
        """Return the rectangle of a choice's regions."""
        width, height = self.sides[index].tolist()
        return width, height

    def size_of(self, index: int) -> int:
        """Return the index of a choice's group size."""
        return bisect_right(self.starts, index) - 1

    def worthwhile(self) -> NDArray[np.intp]:
        """Return the choices that are faster than every smaller choice."""
        return self.front[_front(self.pes[self.front], self.cycles[self.front])]

    def pick(self, prices: Sequence[float], cap: float) -> NDArray[np.intp]:
        """Return the best choice at each price under a cap, or that of the shortest stages."""
        slowest = self.slowest[self.front]
        value = self.cycles[self.front] + np.multiply.outer(prices, self.pes[self.front])
        value[:, slowest > cap] = np.inf
        found = np.argmin(value, axis=1)
        is_found = np.isfinite(np.take_along_axis(value, found[:, None], axis=1)[:, 0])
        return self.front[np.where(is_found, found, np.argmin(slowest))]


@dataclass(frozen=True, slots=True)
class _Slots:
    """The best choice of one group size in a slot of any width and height."""

    widths: NDArray[np.intp]
    heights: NDArray[np.intp]
    best: NDArray[np.intp]
    """The best choice by indices of width and height; −1: none fits."""

    @classmethod
    def of(cls, sides: NDArray[Any], values: Floats, start: int) -> _Slots:
        """Return the table of choices, which begin at index `start`; the least value is best."""
        order = np.argsort(values, kind="stable")[: np.isfinite(values).sum()]
        (widths, x), (heights, y) = (np.unique(side, return_inverse=True) for side in sides.T)
        ranks = np.full((len(widths) + 1, len(heights) + 1), len(order))
        ranks[x[order] + 1, y[order] + 1] = np.arange(len(order))
        least = np.minimum.accumulate(np.minimum.accumulate(ranks, axis=0), axis=1)
        return cls(widths, heights, np.append(order + start, -1)[least])

    def best_in(self, slots: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the best choice in each slot."""
        narrower = np.searchsorted(self.widths, slots[:, 0], side="right")
        lower = np.searchsorted(self.heights, slots[:, 1], side="right")
        return self.best[narrower, lower]


def _front(pes: Floats, cycles: Floats) -> NDArray[np.intp]:
    """Return the indices of the Pareto front of PEs and cycles, ascending in PEs."""
    order = np.lexsort((cycles, pes))
    fastest = np.minimum.accumulate(cycles[order])
    is_faster = np.append(np.isfinite(fastest[:1]), fastest[1:] < fastest[:-1])
    return order[is_faster]


@dataclass(slots=True)
class _Segment:
    """A segment's rectangles, of which some are measured and the others sketched."""

    index: int
    regions: Regions
    sketch: Sketch
    pinned: tuple[Rectangle, ...]
    known: dict[Rectangle, tuple[Choice, ...]] = field(
        default_factory=dict["Rectangle", "tuple[Choice, ...]"]
    )
    """Measured rectangle → its choices, small groups first."""
    sides: NDArray[Any] = field(default_factory=lambda: np.empty((0, 2), np.intp))
    """Sides of all rectangles; the measured ones come last."""
    most: NDArray[Any] = field(default_factory=lambda: np.empty(0, np.intp))
    """For each rectangle, the number of group sizes that may fit."""
    _table: _Table | None = None

    def begin(self, machine: Machine) -> None:
        """List the rectangles, and measure enough of them for the sketch."""
        if self.pinned:
            self.measure(self.pinned[0])
            return
        index, regions = self.index, self.regions
        sides = np.array(shares_of_wafer(machine, regions.weight_bytes[index]))
        may_fit = [regions.may_fit(((index, size),), sides) for size in self.sizes]
        most = np.minimum.accumulate(may_fit).sum(axis=0)
        self.sides, self.most = sides[most > 0], most[most > 0]
        if self.sketch.num_points(regions.load.rows) >= _NUM_AGAIN:
            return
        few = _NUM_FIRST_OF_FEATURE_MAPS if regions.has_feature_maps else NUM_FIRST
        wanted = _NUM_AGAIN if self.sketch.has_points else few
        in_order = [(width, height) for width, height in self.sides.tolist()]
        for rectangle in (*spread(in_order, wanted), *in_order[-1:]):
            self.measure(rectangle)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The group sizes."""
        return groups(self.regions.segments[self.index].repeats)

    def measure(self, rectangle: Rectangle) -> None:
        """Measure a rectangle by its mesh program, once."""
        if rectangle in self.known:
            return
        found = self.known[rectangle] = tuple(choices(self.index, self.regions, rectangle))
        if found:
            self.sketch.learn(self.regions.load.rows, rectangle, _until_left(found[0][0]))
        is_smaller = (self.sides <= rectangle).all(axis=1)  # so no more group sizes fit
        most = np.where(is_smaller, np.minimum(self.most, len(found)), self.most)
        is_other = (self.sides != rectangle).any(axis=1)
        self.sides = np.append(self.sides[is_other], [rectangle], axis=0)
        self.most = np.append(most[is_other], len(found))
        self._table = None

    def table(self, *, is_of_known: bool = False) -> _Table | None:
        """Return all choices, or only the measured ones; None if there are none."""
        if not self.sketch.has_points:
            return None
        if is_of_known:
            return self._draw(self.sides[len(self.sides) - len(self.known) :])
        if self._table is None:
            self._table = self._draw(self.sides)
        return self._table

    def _draw(self, sides: NDArray[Any]) -> _Table:
        """Return the table of the last rectangles, which have these sides."""
        known = [*self.known.values()]
        first = len(sides) - len(known)
        most = self.most[len(self.sides) - len(sides) :]
        pes = sides.prod(axis=1).astype(float)
        sketched = self.sketch.cycles(self.regions.load.rows, sides)
        repeats = self.regions.segments[self.index].repeats
        cycles: list[Floats] = []
        slowest: list[Floats] = []
        counts = [-(-repeats // size) for size in self.sizes]
        for at, size in enumerate(self.sizes):
            longest = sketched * size * self._saved(at, size)
            total = longest * (repeats / size)
            for place, found in enumerate(known, first):
                if len(found) > at:
                    each = [*map(_until_left, found[at])]
                    total[place], longest[place] = math.fsum(each), max(each)
            has_room = most > at
            cycles.append(np.where(has_room, total, np.inf))
            slowest.append(np.where(has_room, longest, np.inf))
        starts = [at * len(pes) for at in range(len(counts) + 1)]
        fronts = [
            start + _front(pes, of_size) for start, of_size in zip(starts, cycles, strict=False)
        ]
        return _Table(
            np.concatenate(cycles),
            np.concatenate(slowest),
            np.concatenate([pes * count for count in counts]),
            np.tile(sides, (len(counts), 1)),
            np.repeat(counts, len(pes)),
            starts,
            np.concatenate(fronts),
            [_Slots.of(sides, of, start) for start, of in zip(starts, cycles, strict=False)],
            [
                _Slots.of(sides, np.where(np.isfinite(of), -pes, np.inf), start)
                for start, of in zip(starts, cycles, strict=False)
            ],
        )

    def choice(self, rectangle: Rectangle, size: int) -> Choice | None:
        """Return the choice of a group size's index; None: the rectangle is not measured."""
        found = self.known.get(rectangle)
        return None if found is None else found[size]

    def _saved(self, at: int, size: int) -> float:
        """Return a group's launch ÷ the launches of its pieces, from measured regions."""
        pairs = [(of[0][0], of[at][0]) for of in self.known.values() if len(of) > at]
        if not pairs:
            return 1.0
        several = sum(_until_left(one) for _, one in pairs)
        return several / (size * sum(_until_left(one) for one, _ in pairs))


def _until_left(cost: RegionCost) -> float:
    return cost.cycles + cost.leaving_cycles


@dataclass(slots=True)
class _Search:
    machine: Machine
    score: Score
    segments: Sequence[_Segment]
    best: Found = field(default_factory=lambda: Found(None, math.inf, 0))
    sides: tuple[Rectangle, ...] = ()
    """Rectangles of the best plan, by segment."""
    num_sketched: int = 0
    """Most plans estimated in one round."""

    def run(self) -> None:
        """Find the best plan: measure rectangles of plans that look better, until none does."""
        while True:
            self._round(is_of_known=True)
            for _ in range(_MOST_ROUNDS):
                wanted = self._round()
                if not any(wanted):
                    return
                for segment, rectangles in zip(self.segments, wanted, strict=True):
                    for rectangle in rectangles:
                        segment.measure(rectangle)
            self._round(is_of_known=True)
            if self.best.plan is not None:
                return

    def look_beside(self) -> bool:
        """Measure the neighbours of the best plan's rectangles; tell if any was new."""
        before = self._num_known()
        for segment, rectangle in zip(self.segments, self.sides, strict=True):
            if not segment.pinned:
                reach = 1 if segment.regions.has_feature_maps else _REACH
                for other in beside(rectangle, self.machine, reach=reach):
                    segment.measure(other)
        return self._num_known() > before

    def found(self) -> Found:
        """Return the best plan, and how many plans were considered."""
        ways = sum(int(one.most.sum()) for one in self.segments)
        return Found(self.best.plan, self.best.seconds, ways + self.num_sketched)

    def _num_known(self) -> int:
        return sum(len(segment.known) for segment in self.segments)

    def _round(self, *, is_of_known: bool = False) -> list[dict[Rectangle, None]]:
        """Pack the most promising plans; return the rectangles to measure, by segment."""
        wanted: list[dict[Rectangle, None]] = [{} for _ in self.segments]
        drawn = (segment.table(is_of_known=is_of_known) for segment in self.segments)
        tables = [table for table in drawn if table is not None]
        if len(tables) < len(self.segments) or not all(len(table.front) for table in tables):
            return wanted
        picks = np.unique(np.concatenate([*self._picks(tables)]), axis=0)
        bounds = self._estimates(picks, tables)
        pes: Floats = np.sum([t.pes[picks[:, at]] for at, t in enumerate(tables)], axis=0)
        in_order = np.lexsort((-pes, bounds))  # ties: most PEs first
        self.num_sketched = max(self.num_sketched, len(picks))
        for at in in_order.tolist()[:_NUM_PACKED]:
            if bounds[at] >= self.best.seconds or math.isinf(bounds[at]):
                break  # an estimate is a lower bound of the time
            self._pack(picks[at].tolist(), tables, wanted)
            if max(map(len, wanted)) >= _NUM_MORE:
                break
        return wanted

    def _pack(
        self,
        picked: Sequence[int],
        tables: Sequence[_Table],
        wanted: Sequence[dict[Rectangle, None]],
    ) -> None:
        """Adopt a plan if it is the best, or add its sketched rectangles to `wanted`."""
        chosen = [*zip(tables, picked, strict=True)]
        rectangles = [table.rectangle(index) for table, index in chosen]
        counts = (int(table.num_regions[index]) for table, index in chosen)
        regions = (r for r, count in zip(rectangles, counts, strict=True) for _ in range(count))
        sites = pack(regions, largest_rectangle(self.machine.architecture))
        if sites is None or num_wafers(sites) > self.machine.num_wafers:
            return
        seconds = self._seconds(
            math.fsum(float(table.cycles[index]) for table, index in chosen),
            max(float(table.slowest[index]) for table, index in chosen),
            num_wafers=num_wafers(sites),
        )
        if seconds >= self.best.seconds:
            return
        found = [
            segment.choice(rectangle, table.size_of(index))
            for segment, rectangle, (table, index) in zip(
                self.segments, rectangles, chosen, strict=True
            )
        ]
        if None not in found:
            costs = [cost for choice in found if choice is not None for cost in choice]
            self.best = Found(place(costs, self.machine), seconds, 0)
            self.sides = tuple(rectangles)
            return
        if seconds > (1 - _LEAST_GAIN) * self.best.seconds:
            return
        sketched = [at for at, choice in enumerate(found) if choice is None]
        if self.best.plan is None:  # long segments decide whether a plan fits
            cycles = [float(table.cycles[index]) for table, index in chosen]
            long = [at for at in sketched if cycles[at] > _LONG * sum(cycles)]
            sketched = long or sketched
        for at in sketched:
            wanted[at][rectangles[at]] = None

    def _estimates(self, picks: NDArray[np.intp], tables: Sequence[_Table]) -> Floats:
        """Return the scores of choices before packing; infinite if they have too many PEs."""
        at = [*zip(tables, picks.T, strict=True)]
        cycles: Floats = np.sum([table.cycles[index] for table, index in at], axis=0)
        slowest: Floats = np.max([table.slowest[index] for table, index in at], axis=0)
        pes: Floats = np.sum([table.pes[index] for table, index in at], axis=0)
        wafers: Floats = np.ceil(pes / math.prod(largest_rectangle(self.machine.architecture)))
        return np.array(
            [
                self._seconds(one, longest, num_wafers=int(number))
                if number <= self.machine.num_wafers
                else math.inf
                for one, longest, number in zip(
                    cycles.tolist(), slowest.tolist(), wafers.tolist(), strict=True
                )
            ]
        )

    def _seconds(self, cycles: float, slowest: float, *, num_wafers: int) -> float:
        """Return the score of a plan on `num_wafers`."""
        machine = self.machine
        crossings = (num_wafers - 1) * machine.system.crossing_seconds
        return self.score(machine.seconds(cycles) + crossings, machine.seconds(slowest))

    def _picks(self, tables: Sequence[_Table]) -> Iterator[NDArray[np.intp]]:
        """Yield combinations of choices, `[picks, segments]`, that are worth an estimate."""
        yield from _by_price(tables)
        wafer = largest_rectangle(self.machine.architecture)
        yield from _by_slot(tables, wafer, self.machine.num_wafers)


def _by_price(tables: Sequence[_Table]) -> Iterator[NDArray[np.intp]]:
    """Yield the best choices at each price and cap, also combined with all choices of layers.

    Prices alone miss choices that are not on the convex hull of PEs and cycles.
    """
    prices = _prices(tables)
    for cap in _caps(tables):
        yield np.stack([table.pick(prices, cap) for table in tables], axis=1)
    others = np.stack([table.pick(prices, math.inf) for table in tables], axis=1)
    layers = _layers(tables)
    worthwhile = tables[layers].worthwhile()
    beside = np.repeat(np.unique(others, axis=0), len(worthwhile), axis=0)
    beside[:, layers] = np.tile(worthwhile, len(beside) // len(worthwhile))
    yield beside


def _by_slot(
    tables: Sequence[_Table], wafer: Rectangle, num_wafers: int
) -> Iterator[NDArray[np.intp]]:
    """Yield the fastest choices in equal slots that fill the wafers.

    The layers' regions take a slot each. Those of other segments take one, two or four slots: the
    fastest or the largest choice in them, which has memory for more rows.
    """
    layers = _layers(tables)
    for size, slots_of_others in product(range(tables[layers].num_sizes), SLOTS):
        sizes = [min(size, table.num_sizes - 1) for table in tables]
        counts = [int(t.num_regions[t.starts[at]]) for t, at in zip(tables, sizes, strict=True)]
        num_slots = counts[layers] + slots_of_others * (sum(counts) - counts[layers])
        slots: NDArray[np.intp] = np.array(tilings(wafer, -(-num_slots // num_wafers)))
        wide: NDArray[np.intp] = slots * np.array((slots_of_others, 1))
        fastest = [t.fastest[at] for t, at in zip(tables, sizes, strict=True)]
        roomiest = [t.roomiest[at] for t, at in zip(tables, sizes, strict=True)]
        for best in (fastest, [*roomiest[:layers], fastest[layers], *roomiest[layers + 1 :]]):
            found = [
                one.best_in(slots if index == layers else wide) for index, one in enumerate(best)
            ]
            picks = np.stack(found, axis=1)
            yield picks[(picks >= 0).all(axis=1)]


def _layers(tables: Sequence[_Table]) -> int:
    """Return the index of the segment whose fastest choice takes longest."""
    return max(range(len(tables)), key=lambda index: tables[index].cycles.min())


def tilings(wafer: Rectangle, num_slots: int) -> list[Rectangle]:
    """Return the sides of slots of which `num_slots` fill a wafer, none inside another.

    >>> tilings((12, 20), 6)
    [(2, 20), (4, 10), (6, 6), (12, 3)]
    """
    found: list[Rectangle] = []
    for down in range(1, num_slots + 1):
        width, height = wafer[0] // -(-num_slots // down), wafer[1] // down
        if height and width > max((one for one, _ in found), default=0):
            found.append((width, height))
    return found


def _prices(tables: Sequence[_Table]) -> list[float]:
    """Return prices of a PE in cycles, from 0 to more than any speed is worth."""
    most = max(
        float(table.cycles[table.front].max() / table.pes[table.front].min()) for table in tables
    )
    return [0.0, *np.geomspace(most * 1e-6, most * 10, _NUM_PRICES).tolist()]


def _caps(tables: Sequence[_Table]) -> list[float]:
    """Return caps on the longest stage: none, and quantiles of the stages' cycles."""
    slowest = np.concatenate([table.slowest[table.front] for table in tables])
    return [math.inf, *np.quantile(slowest, np.linspace(0, 0.75, _NUM_CAPS)).tolist()]


def place(costs: Sequence[RegionCost], machine: Machine) -> Plan | None:
    """Pack regions in their order; None if they need more wafers than there are."""
    sites = pack([cost.rectangle for cost in costs], largest_rectangle(machine.architecture))
    if sites is None or num_wafers(sites) > machine.num_wafers:
        return None
    stages = tuple(Stage(cost, site) for cost, site in zip(costs, sites, strict=True))
    return Plan(Mode.PIPELINE, stages)
