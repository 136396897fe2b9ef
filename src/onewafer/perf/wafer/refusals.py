"""Refusals: why wafers cannot do a job, and which number of wafers could."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

from onewafer.mesh import largest_rectangle
from onewafer.perf.answer import Memory, Refusal
from onewafer.perf.wafer.layouts import Asked
from onewafer.perf.wafer.options import Mode
from onewafer.perf.wafer.packing import num_wafers, pack
from onewafer.perf.wafer.pipeline import SLOTS, choices, groups, pinned
from onewafer.perf.wafer.rectangles import shares_of_wafer
from onewafer.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from onewafer.perf.model import Model
    from onewafer.perf.wafer.layouts import Demand
    from onewafer.perf.wafer.measured import Rectangle, Work
    from onewafer.perf.wafer.options import WaferOptions
    from onewafer.perf.wafer.packing import Site
    from onewafer.perf.wafer.pipeline import Choice
    from onewafer.perf.wafer.programs import Programs
    from onewafer.perf.wafer.region import Regions
    from onewafer.perf.wafer.system import Machine


def refusal(
    model: Model,
    demand: Demand,
    machine: Machine,
    options: WaferOptions,
    programs: Programs,
    *,
    can_stream: bool = True,
) -> Refusal:
    """Refuse a job, with the bytes it needs, those available, and what would do.

    `can_stream` tells whether the user may choose weight streaming.
    """
    asked = _Asked(model, demand, machine, options, programs)
    enough = None if options.mode is Mode.STREAMING else _smallest(asked)
    memory = _memory(asked, enough)
    kept = f" and {format_size(memory.cache_bytes)} for keys and values"
    needs = f"{model.title} needs {format_size(memory.weight_bytes)} for weights"
    if enough is None:
        why = _why_none(asked)
    else:
        why = f"{_takes(asked, enough, memory)}; {_would_do(asked, enough, can_stream=can_stream)}"
    return Refusal(
        system=machine.wafers.name,
        title=machine.title,
        reason=f"{needs}{kept if memory.cache_bytes else ''}; {why}",
        memory=memory if enough else None,
    )


def sides(rectangle: Rectangle) -> str:
    """Return a rectangle as people write it.

    >>> sides((3, 4))
    '3×4 PEs'
    """
    return f"{rectangle[0]}×{rectangle[1]} PEs"


@dataclass(frozen=True, slots=True)
class _Asked(Asked):
    """A job that could not be done."""

    def regions_in_forms(self, replicas: int = 1) -> list[Regions]:
        sequences = -(-self.demand.sequences // replicas)
        return [
            self.regions(replace(one.load, sequences=sequences)) for one in self.demand.in_forms()
        ]

    def why_not(self, regions: Regions) -> str | None:
        """Return why some piece does not fit a whole wafer; None: all fit."""
        wafer = largest_rectangle(self.machine.architecture)
        reasons = (regions.why_not(((i, 1),), wafer) for i in range(len(regions.segments)))
        return next((reason for reason in reasons if reason is not None), None)


@dataclass(frozen=True, slots=True)
class _Enough:
    """The fewest wafers that would do: replicas of a pipeline, and its sites."""

    replicas: int
    sites: Sequence[Site]

    @property
    def num_wafers(self) -> int:
        return self.replicas * num_wafers(self.sites)


def _smallest(asked: _Asked) -> _Enough | None:
    """Return the fewest wafers that would do; None: no number would."""
    replicas = 1
    while replicas <= asked.demand.sequences:
        sites = _fewest(asked, replicas)
        if sites:
            found = _Enough(replicas, sites)
            if found.num_wafers <= asked.machine.system.max_systems:
                return found
        replicas *= 2
    return None


def _memory(asked: _Asked, enough: _Enough | None) -> Memory:
    """Return the bytes of weights and caches, and those of the smallest sufficient pipeline."""
    model, demand, of_forms = asked.model, asked.demand, asked.regions_in_forms()
    weights = min(
        sum(
            segment.repeats * size
            for segment, size in zip(model.segments, regions.weight_bytes, strict=True)
        )
        for regions in of_forms
    )
    positions = demand.sequences * demand.load.capacity
    cache = positions * model.cached_features * of_forms[0].element_bytes
    architecture = asked.machine.architecture
    present = asked.machine.num_wafers * math.prod(largest_rectangle(architecture))
    taken = 0
    if enough is not None:
        area = sum(site.width * site.height for site in enough.sites)
        taken = enough.replicas * area * architecture.memory_bytes
    return Memory(
        weight_bytes=round(weights),
        cache_bytes=cache,
        other_bytes=max(0, round(taken - weights - cache)),
        available_bytes=present * architecture.memory_bytes,
    )


def _takes(asked: _Asked, enough: _Enough, memory: Memory) -> str:
    """Return in words the bytes of the regions, beside those of the wafers."""
    rectangles = enough.replicas * len(enough.sites)
    is_less = memory.used_bytes <= memory.available_bytes
    gaps = f", in {rectangles} rectangles that leave gaps" if is_less else ""
    count = asked.machine.num_wafers
    wafers = "1 wafer has" if count == 1 else f"{count} wafers have"
    return (
        "with code, buffers and padding, the smallest pipeline takes "
        f"{format_size(memory.used_bytes)}{gaps}; {wafers} {format_size(memory.available_bytes)}"
    )


def _would_do(asked: _Asked, enough: _Enough, *, can_stream: bool) -> str:
    replicas = enough.replicas
    copies = "as a pipeline" if replicas == 1 else f"as {replicas} replicas of a pipeline"
    wafers = f"{asked.machine.system.name}x{enough.num_wafers} would do {copies}"
    if asked.model.has_feature_maps or not can_stream:
        return wafers
    return f"{wafers}, or let the weights come from outside: `--mode streaming`"


def _why_none(asked: _Asked) -> str:
    machine, options = asked.machine, asked.options
    if options.mode is Mode.STREAMING:
        return (
            "with weights from outside, a wafer must hold the caches of its sequences and twice "
            "the weights of the largest layer, of its experts those that a row meets: ask for "
            "fewer sequences, or for more wafers"
        )
    reason = asked.why_not(asked.regions_in_forms()[-1])
    if reason is None and options.region is not None:
        return f"no layer fits the region asked for, {sides(options.region)}: leave it out"
    if reason is None and asked.demand.sequences > 1:
        return (
            f"no number of wafers up to {machine.system.max_systems:,} holds what so many "
            "sequences keep: ask for fewer"
        )
    return reason or "no rectangle of a wafer holds the largest layer"


def _fewest(asked: _Asked, replicas: int) -> tuple[Site, ...] | None:
    """Return the sites of one of `replicas` on the fewest wafers; None if it fits none."""
    found = (
        fewest_wafers(regions, asked.machine, asked.options)
        for regions in asked.regions_in_forms(replicas)
        if asked.why_not(regions) is None
    )
    return min((sites for sites in found if sites is not None), key=num_wafers, default=None)


_EDGE = 1.25
"""Factor up to which numbers of slots are tried beyond the first that has too little memory."""


def fewest_wafers(
    regions: Regions, machine: Machine, options: WaferOptions
) -> tuple[Site, ...] | None:
    """Return the sites of a pipeline on the smallest number of wafers.

    Layers get the smallest regions with enough memory; other segments do, too, or fill slots beside
    the layers. None: some piece fits neither a rectangle of a wafer nor the user's rectangle.
    """
    wafer = largest_rectangle(machine.architecture)
    segments = [
        [
            choice
            for one in pinned(regions, index, options)
            or _smallest_rectangles(regions, index, machine)
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


def _smallest_rectangles(regions: Regions, index: int, machine: Machine) -> set[Rectangle]:
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
    # More slots have less memory each, but sides matter, too: the edge is not sharp.
    edge = bisect_right(numbers, 0, key=lambda number: int(not with_room(number)))
    end = bisect_right(numbers, numbers[max(edge - 1, 0)] * _EDGE)
    found = (with_room(number) for number in reversed(numbers[:end]))
    nothing: list[Rectangle] = []
    return next((fitting for fitting in found if fitting), nothing)


def _num_slots(rectangle: Rectangle, wafer: Rectangle) -> int:
    """Return how many such regions fit a wafer."""
    return wafer[0] // rectangle[0] * (wafer[1] // rectangle[1])
