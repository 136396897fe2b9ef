"""Choose one rectangle per wafer for all layers in sequence."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from onewafer.perf.wafer.options import Mode
from onewafer.perf.wafer.packing import Site
from onewafer.perf.wafer.plan import Plan, Stage
from onewafer.perf.wafer.rectangles import alone_on_wafer, beside
from onewafer.perf.wafer.sketch import spread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onewafer.perf.wafer.measured import Rectangle, Work
    from onewafer.perf.wafer.options import WaferOptions
    from onewafer.perf.wafer.region import Regions
    from onewafer.perf.wafer.system import Machine

    Score = Callable[[float, float], float]
    """Seconds, the fewer the better, from the latency of a launch and the longest stage."""

NUM_FIRST = 24
"""Rectangles that are tried first, spread over all, where no good one is known."""
_NUM_FIRST_OF_FEATURE_MAPS = 12
"""The same number if each rectangle has several programs: feature maps on several grids."""
_REACH = 2
"""Neighbouring lengths on either side of a good side that a thorough search tries."""


@dataclass(frozen=True, slots=True)
class Found:
    """The best plan, if any, and the number of plans considered."""

    plan: Plan | None
    seconds: float
    num_considered: int
    sides: Rectangle | None = None
    """The rectangle of a plan with a single one."""


def search_whole(
    regions: Regions,
    machine: Machine,
    options: WaferOptions,
    score: Score,
    *,
    near: Rectangle | None = None,
    is_thorough: bool = True,
) -> Found:
    """Return the best plan with one rectangle per wafer, on all wafers or on some of them.

    The search for each number of wafers begins at `near`, by default the best rectangle of fewer
    wafers.
    """
    best = Found(None, math.inf, 0)
    for wafers in _numbers_of_wafers(machine.num_wafers):
        works = share_out(regions, wafers)
        least = max(sum(count * regions.weight_bytes[i] for i, count in work) for work in works)
        seconds = partial(_whole_seconds, regions, works, machine, score)
        found = explore(
            machine,
            options,
            seconds,
            least_bytes=least,
            near=near or best.sides,
            is_thorough=is_thorough,
            are_few=regions.has_feature_maps,
        )
        best = replace(best, num_considered=best.num_considered + len(found))
        sides = min(found, key=found.__getitem__)
        if found[sides] < best.seconds:
            plan = _whole(regions, works, sides)
            best = replace(best, plan=plan, seconds=found[sides], sides=sides)
    return best


def explore(
    machine: Machine,
    options: WaferOptions,
    seconds: Callable[[Rectangle], float],
    *,
    least_bytes: float,
    near: Rectangle | None,
    is_thorough: bool,
    are_few: bool = False,
) -> dict[Rectangle, float]:
    """Return the seconds on rectangles that hold `least_bytes`, each alone on its wafer.

    The first ones are spread over all rectangles, unless `near` is good. Then rectangles with one
    side (in a thorough search, both sides) a little shorter or longer than the best one's are tried
    until none is better. A rectangle that the user asks for is the only one.
    """
    if options.region is not None:
        return {options.region: seconds(options.region)}
    found = {} if near is None else {near: seconds(near)}
    if near is None or math.isinf(found[near]):
        fitting = alone_on_wafer(machine, least_bytes)
        first = spread(fitting, _NUM_FIRST_OF_FEATURE_MAPS if are_few else NUM_FIRST)
        found |= {sides: seconds(sides) for sides in (*first, fitting[-1])}
    while True:
        best = min(found, key=found.__getitem__)
        others = beside(best, machine, is_alone=True, reach=_REACH if is_thorough else 1)
        tried = [
            sides
            for sides in others
            if sides not in found and (is_thorough or _differ_in_one_side(sides, best))
        ]
        found |= {sides: seconds(sides) for sides in tried}
        if not any(found[sides] < found[best] for sides in tried):
            return found


def _differ_in_one_side(one: Rectangle, other: Rectangle) -> bool:
    return one[0] == other[0] or one[1] == other[1]


def _numbers_of_wafers(most: int) -> list[int]:
    """Return the numbers of wafers to try: powers of two, and all."""
    return [*(1 << power for power in range((most - 1).bit_length())), most]


def _whole_seconds(
    regions: Regions,
    works: Sequence[Work],
    machine: Machine,
    score: Score,
    rectangle: Rectangle,
) -> float:
    """Return the score of a rectangle on each wafer; infinite if some work does not fit."""
    plan = _whole(regions, works, rectangle)
    if plan is None:
        return math.inf
    cycles = [stage.cost.cycles for stage in plan.stages]
    crossings = (len(cycles) - 1) * machine.system.crossing_seconds
    latency = machine.seconds(math.fsum(cycles)) + crossings
    return score(latency, machine.seconds(max(cycles)))


def _whole(regions: Regions, works: Sequence[Work], rectangle: Rectangle) -> Plan | None:
    """Return the plan with a rectangle on each wafer; None if some work does not fit."""
    costs = [regions.cost(work, rectangle) for work in works]
    if any(cost is None for cost in costs):
        return None
    stages = (
        Stage(cost, Site(number, 0, 0, *rectangle))
        for number, cost in enumerate(costs)
        if cost is not None
    )
    return Plan(Mode.WHOLE, tuple(stages))


def share_out(regions: Regions, num_wafers: int) -> tuple[Work, ...]:
    """Divide the pieces of a model, in order, into runs of about equal weight bytes."""
    pieces = [i for i, segment in enumerate(regions.segments) for _ in range(segment.repeats)]
    sizes = np.array([max(regions.weight_bytes[index], 1.0) for index in pieces])
    middles = (np.cumsum(sizes) - sizes / 2) / sizes.sum()
    of_wafer: list[Counter[int]] = [Counter() for _ in range(num_wafers)]
    for index, middle in zip(pieces, middles.tolist(), strict=True):
        of_wafer[min(num_wafers - 1, int(middle * num_wafers))][index] += 1
    return tuple(tuple(sorted(work.items())) for work in of_wafer if work)
