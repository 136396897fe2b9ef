"""The purposes on which PEs spend their cycles, sampled while a launch runs.

Every PE keeps its position in the schedule in memory, so a sample costs no cycle of the wafer and
changes nothing. The work of a PE since the last sample is counted for the step that it is at now; a
launch has so many samples that this does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.host import RunReader, Whereabouts, addresses_of
from onewafer.mesh import purposes_of_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from onewafer.image import WaferImage
    from onewafer.mesh import MeshProgram, Purpose
    from onewafer.simulator import Machine

LOOKS = 64
"""Approximate number of samples of a launch, which cost little beside the simulation."""
_GOLDEN = 0.6180339887498949
"""Launches take their first sample at different times, so that together they see all steps."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Cycles that a PE spends on one purpose, the mean of all PEs."""

    cycles: float
    busy_cycles: float
    """Cycles of the main thread and of the data path; work of both at once counts twice."""

    def __add__(self, other: Spent) -> Spent:
        """Return the sum of both."""
        return Spent(self.cycles + other.cycles, self.busy_cycles + other.busy_cycles)

    def scaled(self, factor: float) -> Spent:
        """Return both times a factor."""
        return Spent(self.cycles * factor, self.busy_cycles * factor)


class PurposeSampler(RunReader):
    """Samples the step of the schedule at which each PE is."""

    def __init__(
        self,
        program: MeshProgram,
        image: WaferImage,
        position: str,
        *,
        looks: int = LOOKS,
    ) -> None:
        """Take a program, its image, and the variable with a PE's position in the schedule.

        `looks` is the approximate number of samples of a launch.
        """
        self.next_look = 0
        self._looks = looks
        self._addresses = addresses_of(image, position)
        words = purposes_of_words(program)
        self._purposes = tuple(dict.fromkeys(words))
        self._whereabouts = see_words(position, list(map(self._purposes.index, words)))
        self._num_launches = 0
        self._begin_counts()

    def begin(self, machine: Machine, expected_cycles: int) -> None:
        """Begin a launch that will take about `expected_cycles`."""
        self._begin_counts()
        self._interval = max(1, expected_cycles // self._looks)
        offset = int(self._num_launches * _GOLDEN % 1.0 * self._interval)
        self.next_look = machine.cycle + 1 + offset
        self._num_launches += 1
        self._busy_before, self._cycle_before = _busy_cycles(machine), machine.cycle

    def look(self, machine: Machine) -> None:
        """Take a sample: the step of every PE."""
        self.next_look = machine.cycle + self._interval
        numbers = self._whereabouts.look(machine, self._addresses)
        busy = _busy_cycles(machine)
        elapsed = machine.cycle - self._cycle_before
        worked = (busy - self._busy_before) / elapsed
        size = len(self._purposes)
        self._seen += np.bincount(numbers, minlength=size)
        self._worked += np.bincount(numbers, weights=worked, minlength=size)
        self._busy_before, self._cycle_before = busy, machine.cycle

    def spent(self, cycles: int) -> dict[Purpose, Spent]:
        """Return the cycles of a launch by purpose; empty without samples."""
        total = int(self._seen.sum())
        return {
            purpose: Spent(cycles * float(seen) / total, cycles * float(worked) / total)
            for purpose, seen, worked in zip(self._purposes, self._seen, self._worked, strict=True)
            if seen
        }

    def _begin_counts(self) -> None:
        self._seen = np.zeros(len(self._purposes))
        self._worked = np.zeros(len(self._purposes))
        self._interval = 1
        self._busy_before = np.zeros(len(self._addresses), np.int64)
        self._cycle_before = 0


def see_words(position: str, numbers: Sequence[int]) -> Whereabouts:
    """Return how a sampler reads the number of the schedule's word at which each PE is.

    `position` is the variable with its address, `numbers` has one for each word.
    """
    # The variable points behind the words that were read; after the last words it is 0.
    of_position = [numbers[at - 1] for at in range(len(numbers) + 1)]
    return Whereabouts(position, np.array(of_position, np.int16))


def _busy_cycles(machine: Machine) -> NDArray[np.int64]:
    statistics = machine.statistics()
    return (statistics.main_thread_cycles + statistics.data_path_cycles).reshape(-1)
