"""Choose regions: how many pieces each computes, its sides, and where it lies.

A region's sides are those of a wafer divided by whole numbers, so that equal regions fill it. Every
rectangle is asked once for its cost; the rest is arithmetic on these costs: of each segment, the
regions are taken that have the least

    cycles of all pieces + price · PEs of all regions,   among those with no stage longer than a cap

for a row of prices and of caps. Each pair gives a plan; those that look best are packed on wafers,
and the best one that fits is the choice. A price of zero asks for nothing but speed, a high one for
little space: in between lies what a fixed number of wafers has room for.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from onewafer.mesh import largest_rectangle
from onewafer.perf.wafer.options import Mode
from onewafer.perf.wafer.packing import Site, num_wafers, pack
from onewafer.perf.wafer.plan import Plan, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from onewafer.perf.wafer.measured import Rectangle, Work
    from onewafer.perf.wafer.options import WaferOptions
    from onewafer.perf.wafer.region import RegionCost, Regions
    from onewafer.perf.wafer.system import Machine

    Score = Callable[[float, float], float]
    """Seconds, the fewer the better, from the latency of a launch and the longest stage."""
    Floats = NDArray[np.float64]

NUM_RECTANGLES = 192
"""Rectangles that are tried for a segment: so many mesh programs are built."""
_FEWER = 4
"""Part of them that is tried where a good one is known."""
_FEW = 6
"""Part of them that is tried where each has several mesh programs: maps on several grids."""
_ALONE = 3
"""Part of them that is tried where each is alone on its wafer: what is beside the best follows."""
_MOST_UNEQUAL = 6
"""Ratio of the sides of a rectangle."""
_GROUPS = (1, 2, 3, 4, 6, 8)
"""Pieces of a region."""
_REACH = 2
"""Lengths of sides that are tried on either side of a chosen one."""
_MOST_ROUNDS = 4
_GROWTH = 1.12
"""Of the sides of a rectangle that is alone on its wafer, from one that is tried to the next."""
_NUM_PRICES = 24
_NUM_CAPS = 16
_NUM_PACKED = 32
"""Plans that are packed, those that look best first."""


@dataclass(frozen=True, slots=True)
class Found:
    """The best plan, if there is one, and how many were considered."""

    plan: Plan | None
    seconds: float
    num_considered: int
    sides: tuple[Rectangle | None, ...] = ()
    """Of the rectangles that look best: of each segment, or the one of a wafer."""


def rectangles(
    machine: Machine,
    *,
    least_bytes: float,
    is_alone: bool = False,
    near: Rectangle | None = None,
    are_few: bool = False,
) -> tuple[Rectangle, ...]:
    """Return rectangles that hold so many bytes, the whole wafer among them, small ones first.

    They fill a wafer side by side, or one `is_alone` on it and may have any size. Where a good one
    is known, only those `near` it are many. Where each has grids of its own, they `are_few`.
    """
    wafer = largest_rectangle(machine.architecture)
    room = machine.architecture.memory_bytes
    fitting = [
        (width, height)
        for width, height in product(*map(_steps if is_alone else _shares, wafer))
        if width * height * room >= least_bytes
        and max(width, height) <= _MOST_UNEQUAL * min(width, height)
    ]
    fitting.sort(key=lambda sides: (sides[0] * sides[1], sides))
    parts = _FEW if are_few else 1 if near is None else _FEWER
    most = max(1, NUM_RECTANGLES // (parts * (_ALONE if is_alone else 1)))
    step = max(1.0, len(fitting) / most)
    kept = {fitting[int(at * step)] for at in range(min(most, len(fitting)))}
    kept |= {wafer, *_neighbours(near, machine, is_alone=is_alone)}
    return tuple(sorted(kept, key=lambda sides: (sides[0] * sides[1], sides)))


def search_pipeline(
    regions: Regions,
    machine: Machine,
    options: WaferOptions,
    score: Score,
    *,
    near: Sequence[Rectangle | None] = (),
) -> Found:
    """Return the best plan with a region for each piece or for a few of them.

    Rectangles are thinned out at first; then those beside the chosen ones are tried, until none of
    them is better. Where a plan for other rows is known, it begins `near` its rectangles.
    """
    known = near or (None,) * len(regions.segments)
    reach = 1 if regions.has_maps else _REACH
    tried = [
        _pinned(regions, index, options)
        or rectangles(machine, least_bytes=least, near=known[index], are_few=regions.has_maps)
        for index, least in enumerate(regions.weight_bytes)
    ]
    best = _search(regions, machine, score, tried)
    for _ in range(_MOST_ROUNDS):
        tried = [
            of_segment
            if _pinned(regions, index, options)
            else tuple(dict.fromkeys((*of_segment, *_neighbours(rectangle, machine, reach=reach))))
            for index, (of_segment, rectangle) in enumerate(zip(tried, best.sides, strict=True))
        ]
        found = _search(regions, machine, score, tried)
        if not found.seconds < best.seconds:
            return replace(best, num_considered=found.num_considered)
        best = found
    return best


def _steps(side: int) -> list[int]:
    """Return lengths up to a side, each about an eighth longer than the one before."""
    count = max(2, math.ceil(math.log(side) / math.log(_GROWTH)))
    return sorted({int(length) for length in np.geomspace(1, side, count)})


def _pinned(regions: Regions, index: int, options: WaferOptions) -> tuple[Rectangle, ...]:
    """Return the rectangle that the user wants for the layers, nothing for other segments."""
    is_layers = regions.segments[index].repeats > 1 or len(regions.segments) == 1
    return (options.region,) if options.region is not None and is_layers else ()


def _neighbours(
    rectangle: Rectangle | None, machine: Machine, *, is_alone: bool = False, reach: int = _REACH
) -> Iterator[Rectangle]:
    """Yield the rectangles whose sides are a little shorter or longer."""
    if rectangle is None:
        return
    lengths = _steps if is_alone else _shares
    wafer = largest_rectangle(machine.architecture)
    widths, heights = (
        _near(side, lengths(longest), reach) for side, longest in zip(rectangle, wafer, strict=True)
    )
    yield from product(widths, heights)


def _near(side: int, lengths: Sequence[int], reach: int) -> Sequence[int]:
    at = bisect_left(lengths, side)
    return lengths[max(0, at - reach) : at + reach + 1]


def _search(
    regions: Regions,
    machine: Machine,
    score: Score,
    tried: Sequence[tuple[Rectangle, ...]],
) -> Found:
    """Return the best plan with some rectangles for each segment."""
    choices = [[*_choices(index, regions, of_one)] for index, of_one in enumerate(tried)]
    considered = len(_GROUPS) * sum(map(len, tried))
    if not all(choices):
        return Found(None, math.inf, considered, (None,) * len(tried))
    tables = [_Table.of(of_segment) for of_segment in choices]
    looks: dict[tuple[int, ...], float] = {}
    for picked in _pick(tables):
        if picked not in looks:
            looks[picked] = _look(picked, tables, machine, score)
    considered += len(looks)
    best = Found(None, math.inf, considered)
    for picked in sorted(looks, key=lambda picked: looks[picked])[:_NUM_PACKED]:
        if looks[picked] >= best.seconds or math.isinf(looks[picked]):
            break  # what it looks like is the least that it takes
        regular = [of_segment[at] for of_segment, at in zip(choices, picked, strict=True)]
        plan = place([cost for costs in regular for cost in costs], machine)
        if plan is None:
            continue
        seconds = _seconds(picked, tables, machine, score, num_wafers=plan.num_wafers)
        if seconds < best.seconds:
            sides = tuple(costs[0].rectangle for costs in regular)
            best = Found(plan, seconds, considered, sides)
    if best.plan is not None:
        return best
    least = (int(np.argmin(table.pes)) for table in tables)
    sides = tuple(
        of_segment[at][0].rectangle for of_segment, at in zip(choices, least, strict=True)
    )
    return Found(None, math.inf, considered, sides)


def search_whole(
    regions: Regions,
    machine: Machine,
    options: WaferOptions,
    score: Score,
    *,
    near: Sequence[Rectangle | None] = (),
) -> Found:
    """Return the best plan with one rectangle a wafer, on all wafers or on some of them."""
    best = Found(None, math.inf, 0)
    for wafers in _numbers_of_wafers(machine.num_wafers):
        works = share_out(regions, wafers)
        least = max(sum(count * regions.weight_bytes[i] for i, count in work) for work in works)
        tried = (
            (options.region,)
            if options.region
            else rectangles(
                machine,
                least_bytes=least,
                is_alone=True,
                near=near[0] if near else None,
                are_few=regions.has_maps,
            )
        )
        seconds = partial(_whole_seconds, regions, works, machine, score)
        found = explore(tried, machine, seconds, is_pinned=options.region is not None)
        best = replace(best, num_considered=best.num_considered + len(found))
        sides = min(found, key=found.__getitem__)
        if found[sides] < best.seconds:
            plan = _whole(regions, works, sides)
            best = replace(best, plan=plan, seconds=found[sides], sides=(sides,))
    return best


def explore(
    first: Sequence[Rectangle],
    machine: Machine,
    seconds: Callable[[Rectangle], float],
    *,
    is_pinned: bool,
) -> dict[Rectangle, float]:
    """Return the seconds on some rectangles, each alone on its wafer, and beside the best ones.

    Those whose sides are a little shorter or longer than the best one's are tried until none of
    them is better, unless the user wants one rectangle.
    """
    found = {sides: seconds(sides) for sides in first}
    while not is_pinned:
        best = min(found, key=found.__getitem__)
        if math.isinf(found[best]):
            break
        beside = [
            sides for sides in _neighbours(best, machine, is_alone=True) if sides not in found
        ]
        found |= {sides: seconds(sides) for sides in beside}
        if not any(found[sides] < found[best] for sides in beside):
            break
    return found


def _numbers_of_wafers(most: int) -> list[int]:
    """Return the numbers of wafers that are tried: powers of two, and all there are."""
    return [*(1 << power for power in range((most - 1).bit_length())), most]


def _whole_seconds(
    regions: Regions,
    works: Sequence[Work],
    machine: Machine,
    score: Score,
    rectangle: Rectangle,
) -> float:
    """Return the score of a rectangle on each wafer; infinite if some work does not fit it."""
    plan = _whole(regions, works, rectangle)
    if plan is None:
        return math.inf
    cycles = [stage.cost.cycles for stage in plan.stages]
    crossings = (len(cycles) - 1) * machine.system.crossing_seconds
    latency = machine.seconds(math.fsum(cycles)) + crossings
    return score(latency, machine.seconds(max(cycles)))


def _whole(regions: Regions, works: Sequence[Work], rectangle: Rectangle) -> Plan | None:
    """Return the plan with a rectangle on each wafer; None if some work does not fit it."""
    costs = [regions.cost(work, rectangle) for work in works]
    if any(cost is None for cost in costs):
        return None
    stages = (
        Stage(cost, Site(number, 0, 0, *rectangle))
        for number, cost in enumerate(costs)
        if cost is not None
    )
    return Plan(Mode.WHOLE, tuple(stages))


def fewest_wafers(regions: Regions, machine: Machine, options: WaferOptions) -> int | None:
    """Return how many wafers hold a pipeline that takes as little of them as possible.

    None: some piece fits no rectangle of a wafer, or not the one that the user wants.
    """
    width, height = largest_rectangle(machine.architecture)

    def share(costs: tuple[RegionCost, ...]) -> float:
        return sum(1 / (width // c.rectangle[0] * (height // c.rectangle[1])) for c in costs)

    smallest: list[RegionCost] = []
    for index, least in enumerate(regions.weight_bytes):
        tried = _pinned(regions, index, options) or rectangles(
            machine, least_bytes=least, are_few=regions.has_maps
        )
        choices = [*_choices(index, regions, tried)]
        if not choices:
            return None
        smallest += min(choices, key=share)
    sites = pack([cost.rectangle for cost in smallest], (width, height))
    return None if sites is None else num_wafers(sites)


def share_out(regions: Regions, num_wafers: int) -> tuple[Work, ...]:
    """Return the pieces of a model in order, cut into runs of about equal weights."""
    pieces = [i for i, segment in enumerate(regions.segments) for _ in range(segment.repeats)]
    sizes = np.array([max(regions.weight_bytes[index], 1.0) for index in pieces])
    middles = (np.cumsum(sizes) - sizes / 2) / sizes.sum()
    of_wafer: list[Counter[int]] = [Counter() for _ in range(num_wafers)]
    for index, middle in zip(pieces, middles.tolist(), strict=True):
        of_wafer[min(num_wafers - 1, int(middle * num_wafers))][index] += 1
    return tuple(tuple(sorted(work.items())) for work in of_wafer if work)


def place(costs: Sequence[RegionCost], machine: Machine) -> Plan | None:
    """Return the plan of regions in their order; None if they need more wafers than there are."""
    sites = pack([cost.rectangle for cost in costs], largest_rectangle(machine.architecture))
    if sites is None or num_wafers(sites) > machine.num_wafers:
        return None
    stages = tuple(Stage(cost, site) for cost, site in zip(costs, sites, strict=True))
    return Plan(Mode.PIPELINE, stages)


def _shares(side: int) -> list[int]:
    """Return a side divided by 1, 2, 3, …, each length once."""
    return sorted({side // parts for parts in range(1, side + 1)})


def _choices(
    index: int, regions: Regions, tried: Sequence[Rectangle]
) -> Iterator[tuple[RegionCost, ...]]:
    """Yield ways to compute all pieces of a segment: equal regions, the last one with the rest."""
    repeats = regions.segments[index].repeats
    for rectangle in tried:
        for group in dict.fromkeys(min(size, repeats) for size in _GROUPS):
            full, rest = divmod(repeats, group)
            cost = regions.cost(((index, group),), rectangle)
            if cost is None:
                break
            last = [regions.cost(((index, rest),), rectangle)] if rest else []
            yield (*[cost] * full, *(c for c in last if c is not None))


def _until_left(cost: RegionCost) -> float:
    return cost.cycles + cost.leaving_cycles


@dataclass(frozen=True, slots=True)
class _Table:
    """The choices of a segment as arrays."""

    cycles: Floats
    """Of all pieces."""
    slowest: Floats
    """Of the longest stage."""
    pes: Floats
    """Of all regions."""

    @classmethod
    def of(cls, choices: Sequence[tuple[RegionCost, ...]]) -> _Table:
        return cls(
            np.array([math.fsum(map(_until_left, costs)) for costs in choices]),
            np.array([max(map(_until_left, costs)) for costs in choices]),
            np.array([float(sum(cost.num_pes for cost in costs)) for costs in choices]),
        )

    def worthwhile(self) -> list[int]:
        """Return the choices than which no smaller one is as fast."""
        order = np.lexsort((self.cycles, self.pes))
        fastest = np.minimum.accumulate(self.cycles[order])
        is_faster = np.append(True, fastest[1:] < fastest[:-1])
        return order[is_faster].tolist()

    def pick(self, prices: Sequence[float], cap: float) -> list[int]:
        """Return the best choice at each price under a cap, or else that of shortest stages."""
        value = self.cycles + np.multiply.outer(prices, self.pes)
        value[:, self.slowest > cap] = np.inf
        found = np.argmin(value, axis=1)
        is_found = np.isfinite(np.take_along_axis(value, found[:, None], axis=1)[:, 0])
        return np.where(is_found, found, np.argmin(self.slowest)).tolist()


def _pick(tables: Sequence[_Table]) -> Iterator[tuple[int, ...]]:
    """Yield what is best at each price and cap, and beside each choice that the layers have.

    No price asks for what is a little slower than one choice and a little larger than another.
    """
    prices = _prices(tables)
    by_cap = [
        [*zip(*(table.pick(prices, cap) for table in tables), strict=True)] for cap in _caps(tables)
    ]
    for of_price in zip(*by_cap, strict=True):
        yield from of_price
    layers = max(range(len(tables)), key=lambda index: tables[index].cycles.min())
    others = {*zip(*(table.pick(prices, math.inf) for table in tables), strict=True)}
    for at, picked in product(tables[layers].worthwhile(), sorted(others)):
        yield (*picked[:layers], at, *picked[layers + 1 :])


def _prices(tables: Sequence[_Table]) -> list[float]:
    """Return prices of a PE in cycles, from nothing to more than any speed is worth."""
    most = max(float(table.cycles.max() / table.pes.min()) for table in tables)
    return [0.0, *np.geomspace(most * 1e-6, most * 10, _NUM_PRICES).tolist()]


def _caps(tables: Sequence[_Table]) -> list[float]:
    """Return bounds for the longest stage: none, and quantiles of what stages take."""
    slowest = np.concatenate([table.slowest for table in tables])
    return [math.inf, *np.quantile(slowest, np.linspace(0, 0.75, _NUM_CAPS)).tolist()]


def _look(
    picked: tuple[int, ...], tables: Sequence[_Table], machine: Machine, score: Score
) -> float:
    """Return the score of a choice before it is packed; infinite if it cannot fit."""
    pes = sum(float(table.pes[index]) for table, index in zip(tables, picked, strict=True))
    wafers = math.ceil(pes / math.prod(largest_rectangle(machine.architecture)))
    if wafers > machine.num_wafers:
        return math.inf
    return _seconds(picked, tables, machine, score, num_wafers=wafers)


def _seconds(
    picked: tuple[int, ...],
    tables: Sequence[_Table],
    machine: Machine,
    score: Score,
    *,
    num_wafers: int,
) -> float:
    """Return the score of a choice that lies over so many wafers."""
    at = [*zip(tables, picked, strict=True)]
    cycles = sum(float(table.cycles[index]) for table, index in at)
    slowest = max(float(table.slowest[index]) for table, index in at)
    crossings = (num_wafers - 1) * machine.system.crossing_seconds
    return score(machine.seconds(cycles) + crossings, machine.seconds(slowest))
