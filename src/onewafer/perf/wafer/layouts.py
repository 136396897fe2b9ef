"""Lay a model over wafers for many launches: rows of a launch, replicas, regions.

More rows of a launch share its fixed costs, more launches keep more stages busy; what is better is
found by doubling the rows as long as it helps, and the same goes for replicas of the whole model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onewafer.perf.wafer.latent import USUAL_FORM, reading_forms
from onewafer.perf.wafer.options import Mode
from onewafer.perf.wafer.plan import Plan, pace
from onewafer.perf.wafer.region import Regions
from onewafer.perf.wafer.search import search_pipeline, search_whole
from onewafer.perf.wafer.system import with_wafers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from onewafer.perf.model import Model
    from onewafer.perf.wafer.latent import LatentForm
    from onewafer.perf.wafer.options import WaferOptions
    from onewafer.perf.wafer.plan import Pace
    from onewafer.perf.wafer.region import Rectangle
    from onewafer.perf.wafer.system import Machine
    from onewafer.perf.wafer.workload import Load

_SEARCHES = {Mode.PIPELINE: search_pipeline, Mode.WHOLE: search_whole}


@dataclass(frozen=True, slots=True)
class Demand:
    """What all wafers together are asked for, before it is cut into launches."""

    sequences: int
    load: Load
    """Of launches of one row, or of as many as a launch must have."""
    most_rows: int
    """Of a launch."""
    launches_of: Callable[[int, int], int]
    """How many launches it takes, by sequences and rows of each."""
    seconds: Callable[[float, float, int], float]
    """How long they take, from latency, period, and their number."""
    forms: tuple[LatentForm, ...] = (USUAL_FORM,)
    """Of attention to latent vectors, that are tried."""

    def in_forms(self) -> Iterator[Demand]:
        """Yield what is asked for in one form each."""
        for form in self.forms:
            yield replace(self, load=replace(self.load, form=form), forms=(form,))

    def loads(self, sequences: int) -> Iterator[Load]:
        """Yield loads of ever more rows, with the caches of so many sequences."""
        load = replace(self.load, sequences=sequences)
        rows, most = load.rows, self.most_rows
        if load.are_sequences:
            most = min(most, sequences)
        while True:
            yield with_more_rows(load, rows)
            if rows >= most:
                return
            rows = min(2 * rows, most)


@dataclass(frozen=True, slots=True)
class Layout:
    """The best way found in one mode."""

    plan: Plan
    regions: Regions
    machine: Machine
    """The wafers of one replica."""
    replicas: int
    launches: int
    """Of a replica."""
    seconds: float
    num_considered: int

    def pace(self) -> Pace:
        """Return how fast launches go through it."""
        load = self.regions.load
        unchecked = load.are_sequences and load.rows > 1
        return pace(self.plan, self.regions, self.machine, is_unchecked=unchecked)


def with_more_rows(load: Load, rows: int) -> Load:
    """Return a load of more rows.

    Rows of one sequence are in the middle of it, so that the load is the mean of all launches. Rows
    of several sequences are all at the same position; the closed form, in which every row has a
    position of its own, takes them to be later by up to `rows`.
    """
    if not load.are_sequences:
        return replace(load, rows=rows, position=max(0, load.capacity - rows) // 2)
    return replace(load, rows=rows, capacity=load.capacity + rows - 1)


def lay_out(
    model: Model, demand: Demand, machine: Machine, options: WaferOptions, *, mode: Mode
) -> Layout | None:
    """Return the best layout of a mode, None if nothing has room."""
    tried = [_lay_out(model, one, machine, options, mode=mode) for one in demand.in_forms()]
    found = [layout for layout in tried if layout is not None]
    if not found:
        return None
    considered = sum(layout.num_considered for layout in found)
    return replace(min(found, key=lambda one: one.seconds), num_considered=considered)


def _lay_out(
    model: Model, demand: Demand, machine: Machine, options: WaferOptions, *, mode: Mode
) -> Layout | None:
    """Return the best layout of a mode in one form."""
    best: Layout | None = None
    considered, replicas = 0, 1
    while replicas <= min(machine.num_wafers, demand.sequences):
        share = with_wafers(machine, machine.num_wafers // replicas)
        sequences = -(-demand.sequences // replicas)
        found, count = _doubled(model, demand, share, options, mode=mode, sequences=sequences)
        considered += count
        if best is not None and (found is None or found.seconds >= best.seconds):
            break
        if found is not None:
            best = replace(found, replicas=replicas)
        replicas *= 2
    return None if best is None else replace(best, num_considered=considered)


def _doubled(
    model: Model,
    demand: Demand,
    machine: Machine,
    options: WaferOptions,
    *,
    mode: Mode,
    sequences: int,
) -> tuple[Layout | None, int]:
    """Double the rows of a launch as long as that helps; return how much was considered, too."""
    best: Layout | None = None
    considered = 0
    near: tuple[Rectangle | None, ...] = ()
    for load in demand.loads(sequences):
        regions = Regions(model, load, machine=machine, options=options)
        launches = demand.launches_of(sequences, load.rows)

        def score(latency: float, period: float, launches: int = launches) -> float:
            return demand.seconds(latency, period, launches)

        found = _SEARCHES[mode](regions, machine, options, score, near=near)
        considered += found.num_considered
        if found.plan is None or (best is not None and found.seconds >= best.seconds):
            break
        best = Layout(found.plan, regions, machine, 1, launches, found.seconds, 0)
        near = found.sides
    return best, considered


def longest_context(layout: Layout, model: Model, options: WaferOptions, *, most: int) -> int:
    """Return how many positions the caches of a layout have room for, at most `most`."""
    load = layout.regions.load
    distinct = {(stage.cost.work, stage.cost.rectangle) for stage in layout.plan.stages}
    room = layout.machine.architecture.memory_bytes

    def fits(context: int) -> bool:
        longer = replace(load, capacity=context, position=max(0, context - load.rows))
        regions = Regions(model, longer, machine=layout.machine, options=options)
        needed = (regions.bytes(work, rectangle) for work, rectangle in distinct)
        return all(one is not None and one.total <= room for one in needed)

    low, high = load.capacity, max(load.capacity, most)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def read_prompt(
    layout: Layout, model: Model, options: WaferOptions, *, tokens: int
) -> tuple[Pace, int] | None:
    """Return the pace of launches that read a prompt on a layout, and how many of them it takes.

    Launches have as many rows as have room beside the caches, if that is faster. None: not even one
    row has.
    """
    load = layout.regions.load
    load = replace(load, capacity=max(load.capacity, tokens))
    found = [
        reading
        for form in reading_forms(model, load.form)
        if (reading := _read_in_rows(layout, model, options, replace(load, form=form), tokens))
    ]
    return min(found, key=lambda reading: reading[0].sequence(reading[1]), default=None)


def _read_in_rows(
    layout: Layout, model: Model, options: WaferOptions, load: Load, tokens: int
) -> tuple[Pace, int] | None:
    """Double the rows of a launch as long as that helps.

    A token by itself goes through as one that is decoded does, and needs no more room.
    """
    best: tuple[Pace, int] | None = None
    rows = 1
    while True:
        launches = -(-tokens // rows)
        is_decoding = rows == 1 and layout.regions.load.are_sequences
        reading = replace(load, rows=rows, position=(tokens - rows) // 2, are_sequences=is_decoding)
        found = _read(layout, model, options, reading)
        if found is None or (best and found.sequence(launches) >= best[0].sequence(best[1])):
            return best
        best = found, launches
        if rows >= tokens:
            return best
        rows = min(2 * rows, tokens)


def _read(layout: Layout, model: Model, options: WaferOptions, reading: Load) -> Pace | None:
    regions = Regions(model, reading, machine=layout.machine, options=options)
    stages = layout.plan.stages
    if any(regions.cost(stage.cost.work, stage.cost.rectangle) is None for stage in stages):
        return None
    return pace(layout.plan, regions, layout.machine)
