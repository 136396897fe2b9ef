"""The nouns of a search: the demand of a job, and a layout that meets it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onewafer.perf.wafer.latent import USUAL_FORM, reading_forms
from onewafer.perf.wafer.options import Mode
from onewafer.perf.wafer.plan import Plan, Speed, pace, speed
from onewafer.perf.wafer.region import Regions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from onewafer.perf.jobs import Job
    from onewafer.perf.model import Model
    from onewafer.perf.wafer.latent import LatentForm
    from onewafer.perf.wafer.measured import Rectangle
    from onewafer.perf.wafer.options import WaferOptions
    from onewafer.perf.wafer.plan import Pace
    from onewafer.perf.wafer.programs import Programs
    from onewafer.perf.wafer.system import Machine
    from onewafer.perf.wafer.workload import Load

    Seconds = Callable[[Speed, Load, int], float]
    """How long launches of a load take, by how fast they go through and by their number."""


@dataclass(frozen=True, slots=True)
class Demand:
    """The demand of a job on all wafers, before it is divided into launches."""

    sequences: int
    load: Load
    """Load of a launch with the fewest rows."""
    most_rows: int
    """Most rows of a launch."""
    launches_of: Callable[[int, int], int]
    """Number of launches for (sequences, rows per launch)."""
    scores: tuple[Seconds, ...]
    """The scores that searches of regions minimise, one search each."""
    seconds_of: Callable[[Layout], float] | None = None
    """The seconds of the whole job on a layout; None: the score of the search is used."""
    job: Job | None = None
    """The job, if its layout can be cached; else None."""
    can_wait: bool = False
    """True if sequences may wait for others to end, so that all launches are full."""
    forms: tuple[LatentForm, ...] = (USUAL_FORM,)
    """Forms of attention to latent vectors that are tried."""

    def in_forms(self) -> Iterator[Demand]:
        """Yield the demand in each of its forms."""
        for form in self.forms:
            yield replace(self, load=replace(self.load, form=form), forms=(form,))

    def loads(self, sequences: int) -> Iterator[Load]:
        """Yield loads with 1, 2, 4 … rows per launch and caches of `sequences`."""
        rows, most = self.load.rows, self.most_rows
        if self.load.are_sequences:
            most = min(most, sequences)
        while True:
            kept = sequences // rows * rows if self.can_wait else sequences
            load = replace(self.load, sequences=kept)
            yield load if load.rows == self.most_rows else with_more_rows(load, rows)
            if rows >= most:
                return
            rows = min(2 * rows, most)


@dataclass(frozen=True, slots=True)
class Layout:
    """A way to do a job: a plan for one replica, and how often it is launched."""

    plan: Plan
    regions: Regions
    machine: Machine
    """The wafers of one replica."""
    replicas: int
    launches: int
    """Launches of a replica."""
    seconds: float
    num_considered: int
    seconds_at_any_clock: float = 0.0
    """Seconds at the clock of a cached search."""

    @property
    def only_rectangle(self) -> Rectangle | None:
        """The rectangle of all regions; None if there are several in a pipeline."""
        is_whole = self.plan.mode is Mode.WHOLE
        return self.plan.stages[0].cost.rectangle if is_whole else None

    @property
    def sequences(self) -> int:
        """Sequences that a replica works on together."""
        return self.regions.load.sequences

    def pace(self) -> Pace:
        """Return the pace of launches, with a breakdown."""
        load = self.regions.load
        unchecked = load.are_sequences and load.rows > 1
        return pace(self.plan, self.regions, self.machine, is_unchecked=unchecked)

    def speed(self) -> Speed:
        """Return the speed of launches, without a breakdown."""
        return speed(self.plan, self.regions, self.machine)


def with_more_rows(load: Load, rows: int) -> Load:
    """Return a load of more rows.

    Rows of one sequence are put in its middle, the mean of all launches. Rows of several sequences
    are at the same position; the closed form, in which every row has its own position, takes them
    to be later by up to `rows`.
    """
    if not load.are_sequences:
        return replace(load, rows=rows, position=max(0, load.capacity - rows) // 2)
    return with_rows_of_sequences(load, rows, capacity=load.capacity)


def with_rows_of_sequences(load: Load, rows: int, *, capacity: int) -> Load:
    """Return a load with one row of each of `rows` sequences, with caches of a capacity."""
    return replace(load, rows=rows, capacity=capacity + rows - 1, are_sequences=True)


def prompt_load(layout: Layout, load: Load, rows: int) -> Load:
    """Return a load of `rows` tokens of one prompt.

    A single token costs what a decoded token costs, in time and memory.
    """
    is_decoding = rows == 1 and layout.regions.load.are_sequences
    return replace(load, rows=rows, are_sequences=is_decoding)


@dataclass(frozen=True, slots=True)
class Asked:
    """A job, and the machine that is asked to do it."""

    model: Model
    demand: Demand
    machine: Machine
    options: WaferOptions
    programs: Programs

    def regions(self, load: Load) -> Regions:
        """Return the costs of regions for a load."""
        return Regions(
            self.model,
            load,
            machine=self.machine,
            options=self.options,
            programs=self.programs,
        )


def longest_context(layout: Layout, *, most: int) -> int:
    """Return how many positions fit the caches of a layout, at most `most`."""
    load = layout.regions.load
    distinct = {(stage.cost.work, stage.cost.rectangle) for stage in layout.plan.stages}
    room = layout.machine.architecture.memory_bytes

    def fits(context: int) -> bool:
        longer = replace(load, capacity=context, position=max(0, context - load.rows))
        regions = layout.regions.with_load(longer, layout.machine)
        needed = (regions.bytes(work, rectangle) for work, rectangle in distinct)
        return all(one is not None and one.total <= room for one in needed)

    low, high = load.capacity, max(load.capacity, most)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


@dataclass(frozen=True, slots=True)
class Reading:
    """The reading of a prompt on a layout, in launches of equally many rows."""

    load: Load
    """Load of the middle launch."""
    speed: Speed
    launches: int

    @property
    def seconds(self) -> float:
        """Time of the whole prompt, if nothing else runs."""
        return self.speed.sequence(self.launches)


def best_reading(layout: Layout, *, tokens: int) -> Reading | None:
    """Return the fastest reading of a prompt on a layout; None: not even one row fits.

    Launches have as many rows as fit beside the caches, or fewer if that is faster.
    """
    load = layout.regions.load
    load = replace(load, capacity=max(load.capacity, tokens))
    found = [
        reading
        for form in reading_forms(layout.regions.model, load.form)
        if (reading := _read_in_rows(layout, replace(load, form=form), tokens))
    ]
    return min(found, key=lambda reading: reading.seconds, default=None)


def _read_in_rows(layout: Layout, load: Load, tokens: int) -> Reading | None:
    """Read a prompt with 1, 2, 4 … rows per launch as long as that helps."""
    best: Reading | None = None
    rows = 1
    while True:
        launches = -(-tokens // rows)
        reading = replace(prompt_load(layout, load, rows), position=(tokens - rows) // 2)
        found = _read(layout, reading)
        if found is None or (best and found.sequence(launches) >= best.seconds):
            return best
        best = Reading(reading, found, launches)
        if rows >= tokens:
            return best
        rows = min(2 * rows, tokens)


def _read(layout: Layout, reading: Load) -> Speed | None:
    regions = layout.regions.with_load(reading, layout.machine)
    distinct = {(stage.cost.work, stage.cost.rectangle) for stage in layout.plan.stages}
    if any(regions.cost(work, rectangle) is None for work, rectangle in distinct):
        return None
    return speed(layout.plan, regions, layout.machine)
