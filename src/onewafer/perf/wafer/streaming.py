"""Weight streaming in inference: the time of a model that is too large for the wafers.

A weight server sends the weights of a piece to all wafers at once, over the edge of each; meanwhile
the wafers compute the piece before on all their sequences. Activations and the KV cache stay. So

    seconds of a pass = Σ pieces · max(bytes of its weights / edge bandwidth, launches · seconds)
    bytes of a PE     = 2 · weights of the largest piece + caches of all pieces + activations + code

where experts of a piece follow one another, so that memory for as many as a row is routed to is
enough. Each wafer has its own sequences; wafers share only the weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onewafer.perf.breakdown import Breakdown, Item, Limit
from onewafer.perf.wafer.measured import Bytes
from onewafer.perf.wafer.plan import LAUNCH, TOKENS
from onewafer.perf.wafer.search import explore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onewafer.perf.wafer.measured import Rectangle
    from onewafer.perf.wafer.options import WaferOptions
    from onewafer.perf.wafer.region import RegionCost, Regions
    from onewafer.perf.wafer.system import Machine

WEIGHTS = "weights from outside"
_ROUNDING = 1e-9
"""Tolerance for sums in another order, which differ by far less."""


@dataclass(frozen=True, slots=True)
class Streamed:
    """One pass of `launches` through all layers, on every wafer."""

    rectangle: Rectangle
    breakdown: Breakdown
    bytes: Bytes
    busy_pe_seconds: float
    """PE-seconds of work on one wafer."""
    num_considered: int

    @property
    def seconds(self) -> float:
        """Seconds of the pass."""
        return self.breakdown.seconds


def search_streaming(
    regions: Regions,
    machine: Machine,
    options: WaferOptions,
    *,
    launches: int,
    near: Rectangle | None = None,
    at_most: float = math.inf,
    is_thorough: bool = True,
) -> Streamed | None:
    """Return the fastest pass of `launches` on each wafer, None if no rectangle fits.

    The search begins at `near`, if given. It may return None if no pass takes less than `at_most`
    seconds.
    """
    least = 2 * max(regions.bytes_at_once)
    longest = math.inf  # not `at_most`: the best is often beside a slower one

    def seconds_on(sides: Rectangle) -> float:
        nonlocal longest
        costs = _costs(regions, machine, sides, launches=launches, at_most=longest)
        if costs is None:
            return math.inf
        found = _seconds(regions, machine, costs, launches=launches)
        longest = min(longest, found * (1 + _ROUNDING))
        return found

    seconds = explore(
        machine, options, seconds_on, least_bytes=least, near=near, is_thorough=is_thorough
    )
    # The fastest takes longer than `at_most`, beyond rounding.
    if longest > at_most * (1 + _ROUNDING) ** 2:
        return None
    passes = (
        stream(regions, machine, sides, launches=launches)
        for sides in seconds
        if seconds[sides] <= longest  # the breakdowns of slower ones are not needed
    )
    found = [one for one in passes if one is not None]
    if not found:
        return None
    return replace(min(found, key=lambda one: one.seconds), num_considered=len(seconds))


def least_seconds(regions: Regions, machine: Machine) -> float:
    """Return a lower bound of a pass: until all weights have arrived."""
    pieces = (
        _piece_seconds(index, regions, machine, 0.0) for index in range(len(regions.segments))
    )
    return machine.system.crossing_seconds + math.fsum(pieces)


def stream(
    regions: Regions, machine: Machine, rectangle: Rectangle, *, launches: int
) -> Streamed | None:
    """Return a pass with all pieces on one rectangle of each wafer; None if it does not fit."""
    found = _costs(regions, machine, rectangle, launches=launches, at_most=math.inf)
    if found is None:
        return None
    needed = _bytes(regions, found, rectangle, launches=launches)
    items = [item for cost in found for item in _items(cost, regions, machine, launches)]
    items.append(
        Item(
            name=TOKENS,
            seconds=machine.system.crossing_seconds,
            limit=Limit.OFF_WAFER,
            is_cross_checked=False,
        )
    )
    busy = math.fsum(
        regions.segments[cost.work[0][0]].repeats * launches * machine.seconds(cost.cycles)
        for cost in found
    )
    width, height = rectangle
    return Streamed(rectangle, Breakdown(tuple(items)), needed, busy * width * height, 1)


def _costs(
    regions: Regions, machine: Machine, rectangle: Rectangle, *, launches: int, at_most: float
) -> list[RegionCost] | None:
    """Return the costs of a piece of each segment; None if they do not fit.

    Also None as soon as they must take longer than `at_most` seconds: pieces not yet measured take
    at least their multiply-adds or the arrival of their weights.
    """
    by_index: dict[int, RegionCost] = {}
    least = [
        _piece_seconds(index, regions, machine, launches * regions.least_cycles(index, rectangle))
        for index in range(len(regions.segments))
    ]
    for index in sorted(range(len(least)), key=lambda index: -least[index]):
        if math.fsum(least) > at_most:
            return None
        cost = regions.streamed_cost(index, rectangle)
        if cost is None:
            return None
        by_index[index] = cost
        least[index] = _piece_seconds(index, regions, machine, launches * cost.cycles)
    if math.fsum(least) > at_most:
        return None
    found = [by_index[index] for index in range(len(least))]
    needed = _bytes(regions, found, rectangle, launches=launches)
    return found if needed.total <= machine.architecture.memory_bytes else None


def _seconds(
    regions: Regions, machine: Machine, costs: list[RegionCost], *, launches: int
) -> float:
    """Return the seconds of a pass, equal to its breakdown up to rounding."""
    pieces = (
        _piece_seconds(cost.work[0][0], regions, machine, launches * cost.cycles) for cost in costs
    )
    return machine.system.crossing_seconds + math.fsum(pieces)


def _piece_seconds(index: int, regions: Regions, machine: Machine, cycles: float) -> float:
    """Return the time of a segment's pieces: for each, the longer of its cycles and its weights."""
    arrival = regions.weight_bytes[index] / machine.architecture.io_bytes_per_second
    return regions.segments[index].repeats * max(machine.seconds(cycles), arrival)


def _bytes(
    regions: Regions, costs: list[RegionCost], rectangle: Rectangle, *, launches: int
) -> Bytes:
    """Return the bytes per PE; the activations of all launches wait for the next piece."""
    width, height = rectangle
    waiting = max(
        (
            regions.graphs[cost.work[0][0]].tensor(name).num_bytes
            for cost in costs
            for name in regions.graphs[cost.work[0][0]].outputs
            if cost is not costs[-1]
        ),
        default=0,
    )
    weights = 2 * max((cost.bytes.weights_at_once for cost in costs), default=0)
    return Bytes(
        weights=weights,
        weights_at_once=weights,
        cache=sum(regions.segments[c.work[0][0]].repeats * c.bytes.cache for c in costs),
        other=max((cost.bytes.other for cost in costs), default=0)
        + -(-launches * waiting // (width * height)),
    )


def _items(cost: RegionCost, regions: Regions, machine: Machine, launches: int) -> Iterator[Item]:
    """Yield the items of a segment's pieces: their own work, then the wait for weights."""
    index = cost.work[0][0]
    repeats = regions.segments[index].repeats
    for (part, limit, _), cycles in regions.split(cost.work, cost.rectangle).items():
        yield Item(
            name=part or LAUNCH,
            seconds=repeats * launches * machine.seconds(cycles),
            limit=limit,
            is_cross_checked=False,
        )
    arrival = regions.weight_bytes[index] / machine.architecture.io_bytes_per_second
    late = repeats * (arrival - launches * machine.seconds(cost.cycles))
    if late > 0:
        yield Item(name=WEIGHTS, seconds=late, limit=Limit.OFF_WAFER, is_cross_checked=False)
