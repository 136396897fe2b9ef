"""The fewest wafers that hold a pipeline, for a refusal to name.

In: regions of a model. Out: the packed sites of regions on wafers. Layers get the smallest regions
that have enough memory; other segments do, too, or fill slots beside the layers.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import product
from typing import TYPE_CHECKING

from onewafer.mesh import largest_rectangle
from onewafer.perf.wafer.packing import num_wafers, pack
from onewafer.perf.wafer.pipeline import SLOTS, choices, groups, pinned
from onewafer.perf.wafer.rectangles import shares_of_wafer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from onewafer.perf.wafer.measured import Rectangle, Work
    from onewafer.perf.wafer.options import WaferOptions
    from onewafer.perf.wafer.packing import Site
    from onewafer.perf.wafer.pipeline import Choice
    from onewafer.perf.wafer.region import Regions
    from onewafer.perf.wafer.system import Machine

_EDGE = 1.25
"""Factor up to which numbers of slots are tried beyond the first that has too little memory."""


def fewest_wafers(
    regions: Regions, machine: Machine, options: WaferOptions
) -> tuple[Site, ...] | None:
    """Return the sites of a pipeline on the smallest number of wafers.

    None: some piece fits neither a rectangle of a wafer nor the user's rectangle.
    """
    wafer = largest_rectangle(machine.architecture)
    segments = [
        [
            choice
            for one in pinned(regions, index, options) or _smallest(regions, index, machine)
            for choice in choices(index, regions, one)
        ]
        for index in range(len(regions.segments))
    ]
    if not all(segments):
        return None
    packed = (
        pack([cost.rectangle for choice in plan for cost in choice], wafer)
        for plan in _plans(segments, regions, wafer)
    )
    return min((sites for sites in packed if sites is not None), key=num_wafers, default=None)


def _plans(
    segments: Sequence[Sequence[Choice]], regions: Regions, wafer: Rectangle
) -> Iterator[Sequence[Choice]]:
    """Yield choices for all segments that may take little space in all."""

    def share(choice: Choice) -> float:
        return sum(1 / _num_slots(cost.rectangle, wafer) for cost in choice)

    smallest = [min(found, key=share) for found in segments]
    yield smallest
    layers = max(range(len(smallest)), key=lambda index: share(smallest[index]))
    for chosen, wide in product(segments[layers], SLOTS):
        width, height = chosen[0].rectangle
        slot = min(width * wide, wafer[0]), height
        in_slots = (
            min(choices(index, regions, slot), key=share, default=None)
            for index in range(len(smallest))
        )
        plan = [
            own if other is None else other for own, other in zip(smallest, in_slots, strict=True)
        ]
        plan[layers] = chosen
        yield plan


def _smallest(regions: Regions, index: int, machine: Machine) -> set[Rectangle]:
    """Return, for each group size, the fitting rectangles that fill a wafer most often."""
    wafer = largest_rectangle(machine.architecture)
    by_number: dict[int, list[Rectangle]] = {}
    for one in shares_of_wafer(machine, regions.weight_bytes[index]):
        by_number.setdefault(_num_slots(one, wafer), []).append(one)
    found: set[Rectangle] = set()
    for group in groups(regions.segments[index].repeats):
        found.update(_in_most_slots(((index, group),), regions, by_number))
    return found


def _in_most_slots(
    work: Work, regions: Regions, by_number: dict[int, list[Rectangle]]
) -> list[Rectangle]:
    """Return the rectangles with enough memory for `work` of which most fit a wafer."""

    def with_room(number: int) -> list[Rectangle]:
        return [one for one in by_number[number] if regions.cost(work, one) is not None]

    numbers = sorted(by_number)
    # The more slots, the less room in one, but sides matter, too: the edge is not sharp.
    edge = bisect_right(numbers, 0, key=lambda number: int(not with_room(number)))
    end = bisect_right(numbers, numbers[max(edge - 1, 0)] * _EDGE)
    found = (with_room(number) for number in reversed(numbers[:end]))
    nothing: list[Rectangle] = []
    return next((fitting for fitting in found if fitting), nothing)


def _num_slots(rectangle: Rectangle, wafer: Rectangle) -> int:
    """Return how many such regions fit a wafer."""
    return wafer[0] // rectangle[0] * (wafer[1] // rectangle[1])
