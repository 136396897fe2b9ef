"""The fastest rectangle of the whole wafer for the work of a program, in closed form.

Programs are placed on few PEs, so that each of them can be simulated (`execution/placement`). From
there the search doubles or halves a side, or the number of sample groups, as long as launches get
shorter: with more PEs arithmetic takes less time and messages more, so there was one minimum in all
programs that were tried (`tests/execution/test_fastest.py` has the whole grid of some).
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

from onewafer.errors import UnsupportedOperationError
from onewafer.execution.placement import samples_of_groups
from onewafer.execution.report.values import FastestReport
from onewafer.mesh import FORWARD, Cutter, Estimator, check_words, footprint, largest_rectangle

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from onewafer.execution.records import PhaseRecord, ProgramRecord
    from onewafer.mesh import Launch

    _Choice = tuple[int, int, int]
    """Width, height, number of sample groups."""


def find_fastest(record: ProgramRecord, phases: Iterable[PhaseRecord]) -> FastestReport:
    """Return the rectangle with the fewest cycles for the launches of some phases.

    The launch with the median position of each phase stands for all of its launches.
    """
    program = record.program
    search = _Search(record, {_middle(p.launches): p.launches.total() for p in phases})
    cycles = cache(search.cycles)
    start = best = program.width, program.height, program.sample_groups
    while (nearest := min(search.around(best), key=cycles)) and cycles(nearest) < cycles(best):
        best = nearest
    width, height, _ = best
    return FastestReport(width, height, speedup=cycles(start) / cycles(best))


def _middle(launches: Mapping[Launch | None, int]) -> Launch | None:
    def positions(launch: Launch | None) -> tuple[int, ...]:
        return () if launch is None else tuple(slot.position for slot in launch.slots)

    return sorted(launches, key=positions)[len(launches) // 2]


class _Search:
    """Neighbours of a rectangle in the search, and the cycles of launches on them."""

    def __init__(self, record: ProgramRecord, launches: Mapping[Launch | None, int]) -> None:
        self._program, self._architecture = record.program, record.architecture
        self._launches = launches
        training = record.program.training
        of_groups = training and samples_of_groups(self._program.graph, training.entries[FORWARD])
        self._samples = of_groups or 1
        self._cutter = cache(self._make_cutter)

    def _make_cutter(self, groups: int) -> Cutter:
        program = self._program
        return Cutter(
            program.graph,
            sequences=program.sequences,
            training=program.training,
            sample_groups=groups,
        )

    def around(self, choice: _Choice) -> Iterator[_Choice]:
        """Yield the choices with sides, or the number of groups, doubled or halved."""
        width, height, groups = choice
        widest, highest = largest_rectangle(self._architecture)
        wider, higher = min(2 * width, widest), min(2 * height, highest)
        narrower, lower = max(width // 2, 1), max(height // 2, 1)
        sides = ((wider, height), (width, higher), (narrower, height), (width, lower))
        yield from ((*each, groups) for each in (*sides, (wider, higher), (narrower, lower)))
        if self._samples % (2 * groups) == 0:
            yield from ((width, height, 2 * groups), (width, higher, 2 * groups))
        if groups > 1:
            yield from ((width, height, groups // 2), (width, lower, groups // 2))

    def cycles(self, choice: _Choice) -> float:
        """Return the cycles of all launches in closed form; infinite: the program does not fit."""
        width, height, groups = choice
        try:
            program = self._cutter(groups).cut(
                width=width,
                height=height,
                architecture=self._architecture,
                context=self._program.context,
            )
            check_words(program)
        except UnsupportedOperationError:  # too large, or no way to cut it
            return math.inf
        if footprint(program, self._architecture).total > self._architecture.memory_bytes:
            return math.inf
        estimator = Estimator(program, self._architecture)
        return sum(estimator.estimate(one).cycles * n for one, n in self._launches.items())
