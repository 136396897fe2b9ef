"""Lay a model over wafers for many launches: sequences, replicas, rows of a launch, regions.

More rows of a launch share its fixed costs, more launches keep more stages busy: the rows are
doubled as long as that helps, and so are the replicas of the whole model. If sequences may wait for
others, fewer sequences leave more room: they are halved as long as that helps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from onewafer.perf.wafer.latent import USUAL_FORM, reading_forms
from onewafer.perf.wafer.options import Mode
from onewafer.perf.wafer.pipeline import Pipelines
from onewafer.perf.wafer.plan import Plan, Speed, pace, speed
from onewafer.perf.wafer.programs import Programs
from onewafer.perf.wafer.region import Regions
from onewafer.perf.wafer.search import search_whole
from onewafer.perf.wafer.sketch import Sketch
from onewafer.perf.wafer.system import with_wafers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from onewafer.perf.model import Model
    from onewafer.perf.wafer.latent import LatentForm
    from onewafer.perf.wafer.measured import Rectangle
    from onewafer.perf.wafer.options import WaferOptions
    from onewafer.perf.wafer.plan import Pace
    from onewafer.perf.wafer.search import Found, Score
    from onewafer.perf.wafer.system import Machine
    from onewafer.perf.wafer.workload import Load

    Seconds = Callable[[Speed, Load, int], float]
    """How long launches of a load take, by how fast they go through and by their number."""


_CLOSE = 1.1
"""Times the seconds of the best layout, that others are taken to be as good as it."""
_FAR = 1.3
"""A mode whose lower bound is longer than the best layout's seconds times this is dropped."""
_MOST_CLOSE = 2
"""Layouts whose searches are done thoroughly."""


@dataclass(frozen=True, slots=True)
class Demand:
    """The demand on all wafers together, before it is divided into launches."""

    sequences: int
    load: Load
    """Load of a launch with one row, or with the fewest rows that a launch may have."""
    most_rows: int
    """Most rows of a launch."""
    launches_of: Callable[[int, int], int]
    """How many launches it takes, by sequences and rows of each."""
    scores: tuple[Seconds, ...]
    """The scores that searches of regions minimise; the best layout is the result of one of
    them."""
    seconds_of: Callable[[Layout], float] | None = None
    """The seconds of the whole job on a layout; None: the score of the search is used."""
    can_wait: bool = False
    """Whether sequences may wait until others have ended; then all launches are full."""
    forms: tuple[LatentForm, ...] = (USUAL_FORM,)
    """Forms of attention to latent vectors that are tried."""

    def in_forms(self) -> Iterator[Demand]:
        """Yield what is asked for in one form each."""
        for form in self.forms:
            yield replace(self, load=replace(self.load, form=form), forms=(form,))

    def at_a_time(self) -> Iterator[int]:
        """Yield how many sequences wafers may work on together, many first."""
        sequences = self.sequences
        yield sequences
        while self.can_wait and sequences > 1:
            sequences = 1 << (sequences - 1).bit_length() - 1
            yield sequences

    def loads(self, sequences: int) -> Iterator[Load]:
        """Yield loads with more and more rows, with the caches of `sequences`."""
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
    """The best way found in one mode."""

    plan: Plan
    regions: Regions
    machine: Machine
    """The wafers of one replica."""
    replicas: int
    launches: int
    """Launches of a replica."""
    seconds: float
    num_considered: int

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
        """Return how fast launches go through it."""
        load = self.regions.load
        unchecked = load.are_sequences and load.rows > 1
        return pace(self.plan, self.regions, self.machine, is_unchecked=unchecked)

    def speed(self) -> Speed:
        """Return how fast launches go through it, without where the time goes."""
        return speed(self.plan, self.regions, self.machine)


def with_more_rows(load: Load, rows: int) -> Load:
    """Return a load of more rows.

    Rows of one sequence are in the middle of it, so that the load is the mean of all launches. Rows
    of several sequences are all at the same position; the closed form, in which every row has a
    position of its own, takes them to be later by up to `rows`.
    """
    if not load.are_sequences:
        return replace(load, rows=rows, position=max(0, load.capacity - rows) // 2)
    return with_rows_of_sequences(load, rows, capacity=load.capacity)


def with_rows_of_sequences(load: Load, rows: int, *, capacity: int) -> Load:
    """Return a load of one row each of `rows` sequences, whose caches have a capacity."""
    return replace(load, rows=rows, capacity=capacity + rows - 1, are_sequences=True)


def prompt_load(layout: Layout, load: Load, rows: int) -> Load:
    """Return a load of `rows` tokens of one prompt.

    A token by itself goes through as one that is decoded does, and needs no more room.
    """
    is_decoding = rows == 1 and layout.regions.load.are_sequences
    return replace(load, rows=rows, are_sequences=is_decoding)


@dataclass(frozen=True, slots=True)
class Asked:
    """A job and the machine that it is asked of."""

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


@dataclass(frozen=True, slots=True)
class _Asked(Asked):
    """A job and a machine, in one mode."""

    mode: Mode
    sketches: tuple[Sketch, ...]
    """Sketches of the segments; a piece's cycles do not depend on the number of sequences."""
    is_thorough: bool = False

    def of_replica(self, replicas: int) -> _Asked:
        """Return what one of `replicas` asks of its wafers."""
        return replace(self, machine=with_wafers(self.machine, self.machine.num_wafers // replicas))

    def searcher(self, regions: Regions, near: Rectangle | None) -> Callable[[Score], Found]:
        """Return the search for plans for a load; `near` is a good rectangle for fewer rows."""
        if self.mode is Mode.WHOLE:
            return partial(
                search_whole,
                regions,
                self.machine,
                self.options,
                near=near,
                is_thorough=self.is_thorough,
            )
        pipelines = Pipelines(regions, self.machine, self.options, self.sketches)
        return partial(pipelines.search, is_thorough=self.is_thorough)


@dataclass(slots=True)
class _Best:
    """The best layout so far, and how many were looked at for it."""

    layout: Layout | None = None
    num_considered: int = 0
    met: list[Layout] = field(default_factory=list["Layout"])
    """All layouts that were found on the way."""

    @property
    def seconds(self) -> float:
        """Seconds of the job; infinite without a layout."""
        return math.inf if self.layout is None else self.layout.seconds

    def take(self, found: _Best) -> bool:
        """Take what was found if it is better; tell whether to go on in this direction."""
        self.num_considered += found.num_considered
        self.met += found.met
        if self.layout is not None and found.seconds >= self.seconds:
            return False
        self.layout = found.layout
        return True


def lay_out(
    model: Model,
    demand: Demand,
    machine: Machine,
    options: WaferOptions,
    *,
    mode: Mode,
    programs: Programs | None = None,
    of_other_mode: Layout | None = None,
) -> Layout | None:
    """Return the best layout of a mode, None if nothing has room.

    A layout that is far behind another mode's is not searched thoroughly.
    """
    known = Programs() if programs is None else programs
    limit = math.inf if of_other_mode is None else _FAR * of_other_mode.seconds
    tried = [
        _lay_out(_Asked(model, one, machine, options, known, mode, _sketches(model)), limit)
        for one in demand.in_forms()
    ]
    best = min(tried, key=lambda one: one.seconds)
    considered = sum(one.num_considered for one in tried)
    return best.layout and replace(best.layout, num_considered=considered)


def _sketches(model: Model) -> tuple[Sketch, ...]:
    return tuple(Sketch() for _ in model.segments)


def _lay_out(asked: _Asked, limit: float) -> _Best:
    """Return the best layout in one form: fewer sequences at a time as long as that helps.

    The first searches are quick; those that came to the best layouts are done thoroughly, unless
    these take longer than a limit.
    """
    best = _Best()
    for sequences in asked.demand.at_a_time():
        if not best.take(_replicated(asked, sequences)):
            break
    if best.seconds > limit:
        return best
    close = [one for one in best.met if one.seconds <= _CLOSE * best.seconds]
    searches: dict[tuple[Load, int], Layout] = {}
    for one in sorted(close, key=lambda layout: layout.seconds):
        searches.setdefault((one.regions.load, one.replicas), one)
    for (load, replicas), one in islice(searches.items(), _MOST_CLOSE):
        of_replica = replace(asked.of_replica(replicas), is_thorough=True)
        best.take(_searched(of_replica, load, replicas, one.only_rectangle))
    return best


def _replicated(asked: _Asked, sequences: int) -> _Best:
    """Double the replicas as long as that helps."""
    best, replicas = _Best(), 1
    while replicas <= min(asked.machine.num_wafers, sequences):
        share = sequences // replicas if asked.demand.can_wait else -(-sequences // replicas)
        found = _doubled(asked.of_replica(replicas), share, replicas)
        if not best.take(found):
            break
        replicas *= 2
    return best


def _doubled(asked: _Asked, sequences: int, replicas: int) -> _Best:
    """Double the rows of a launch as long as that helps."""
    best = _Best()
    near: Rectangle | None = None
    for load in asked.demand.loads(sequences):
        found = _searched(asked, load, replicas, near)
        if not best.take(found) or found.layout is None:
            break
        near = found.layout.only_rectangle
    return best


def _searched(asked: _Asked, load: Load, replicas: int, near: Rectangle | None) -> _Best:
    """Return the best layout for a load by any score; `near` is a good rectangle for fewer rows."""
    demand, regions, best = asked.demand, asked.regions(load), _Best()
    launches = demand.launches_of(load.sequences, load.rows)
    search = asked.searcher(regions, near)
    for seconds in demand.scores:

        def score(latency: float, period: float, seconds: Seconds = seconds) -> float:
            return seconds(Speed(latency, period), load, launches)

        found = search(score)
        one = _Best(num_considered=found.num_considered)
        if found.plan is not None:
            layout = Layout(
                found.plan, regions, asked.machine, replicas, launches, found.seconds, 0
            )
            one.layout = _judged(layout, demand)
            one.met += [one.layout] if one.layout else []
        best.take(one)
    return best


def _judged(layout: Layout, demand: Demand) -> Layout | None:
    """Return a layout with the time of the job on it; None if it cannot do it."""
    if demand.seconds_of is None:
        return layout
    seconds = demand.seconds_of(layout)
    return None if math.isinf(seconds) else replace(layout, seconds=seconds)


def longest_context(layout: Layout, *, most: int) -> int:
    """Return how many positions the caches of a layout have room for, at most `most`."""
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
    """How a prompt is read on a layout, in launches of equal numbers of rows."""

    load: Load
    """Load of the launch in the middle."""
    speed: Speed
    launches: int

    @property
    def seconds(self) -> float:
        """Time of the whole prompt, if nothing else runs."""
        return self.speed.sequence(self.launches)


def best_reading(layout: Layout, *, tokens: int) -> Reading | None:
    """Return how a prompt is read fastest on a layout; None: not even one row fits.

    Launches have as many rows as fit beside the caches, if that is faster.
    """
    load = layout.regions.load
    load = replace(load, capacity=max(load.capacity, tokens))
    found = [
        reading
        for form in reading_forms(layout.regions.model, load.form)
        if (reading := _read_in_rows(layout, replace(load, form=form), tokens))
    ]
    return min(found, key=lambda reading: reading.seconds, default=None)


def read_prompt(layout: Layout, *, tokens: int) -> tuple[Speed, int] | None:
    """Return the speed of launches that read a prompt on a layout, and the number of launches."""
    found = best_reading(layout, tokens=tokens)
    return None if found is None else (found.speed, found.launches)


def _read_in_rows(layout: Layout, load: Load, tokens: int) -> Reading | None:
    """Double the rows of a launch as long as that helps."""
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
