"""Why wafers cannot do a job, and what would."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from onewafer.mesh import largest_rectangle
from onewafer.perf.answer import Refusal
from onewafer.perf.wafer.options import Mode
from onewafer.perf.wafer.region import Regions
from onewafer.perf.wafer.search import fewest_wafers
from onewafer.units import format_size

if TYPE_CHECKING:
    from onewafer.perf.model import Model
    from onewafer.perf.wafer.layouts import Demand
    from onewafer.perf.wafer.options import WaferOptions
    from onewafer.perf.wafer.region import Rectangle
    from onewafer.perf.wafer.system import Machine


def refusal(model: Model, demand: Demand, machine: Machine, options: WaferOptions) -> Refusal:
    """Return the bytes that a job needs and those that there are, and what would do."""
    regions = Regions(model, demand.load, machine=machine, options=options)
    wafer = math.prod(largest_rectangle(machine.architecture)) * machine.architecture.memory_bytes
    count = machine.num_wafers
    wafers = "1 wafer has" if count == 1 else f"{count} wafers have"
    return Refusal(
        system=machine.wafers.name,
        title=machine.title,
        reason=(
            f"{_needs(model, demand, regions)}, besides code and buffers; {wafers} "
            f"{format_size(wafer * count)}; {_way_out(regions, machine, options)}"
        ),
    )


def sides(rectangle: Rectangle) -> str:
    """Return a rectangle as people write it.

    >>> sides((3, 4))
    '3×4 PEs'
    """
    return f"{rectangle[0]}×{rectangle[1]} PEs"


def _needs(model: Model, demand: Demand, regions: Regions) -> str:
    weights = sum(
        segment.repeats * size
        for segment, size in zip(model.segments, regions.weight_bytes, strict=True)
    )
    positions = demand.sequences * demand.load.capacity
    cache = positions * model.cached_features * regions.element_bytes
    kept = f" and {format_size(cache)} for keys and values" if cache else ""
    return f"{model.title} needs {format_size(weights)} for weights{kept}"


def _way_out(regions: Regions, machine: Machine, options: WaferOptions) -> str:
    """Return the number of wafers that would do, or why none would."""
    if options.mode is Mode.STREAMING:
        return (
            "with weights from outside, a wafer must hold the caches of its sequences and twice "
            "the weights of the largest layer: ask for fewer sequences, or for more wafers"
        )
    fewest = fewest_wafers(regions, machine, options)
    if fewest is not None:
        return (
            f"{machine.system.name}x{fewest} would do as a pipeline, or let the weights come from "
            "outside: `--mode streaming`"
        )
    wafer = largest_rectangle(machine.architecture)
    reasons = (regions.why_not(((i, 1),), wafer) for i in range(len(regions.segments)))
    reason = next((reason for reason in reasons if reason is not None), None)
    if reason is None and options.region is not None:
        return f"no layer fits the region asked for, {sides(options.region)}: leave it out"
    return reason or "no rectangle of a wafer holds the largest layer"
