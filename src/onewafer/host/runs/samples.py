"""Samples of a run for its recording: the counters of every PE, in windows of cycles.

The machine's counters are read at the end of each window. Memory is bounded: when there is no room
for more windows, neighbours are merged in pairs and windows become twice as long. So a run of any
length has between half of the most windows and all of them. For a model, the step of each PE is
read several times in a window, which gives the cycles that it spends in each step.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from onewafer.host.runs.readers import RunReader
from onewafer.recording import (
    WINDOW_COUNTERS,
    WINDOW_STEP,
    Window,
    column_of_step,
    column_of_window,
)
from onewafer.simulator import Total

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.image import WaferImage
    from onewafer.simulator import Machine

_MOST_BYTES: Final = 1 << 28
"""The most bytes of all windows in memory."""
_MOST_WINDOWS: Final = 128
_BYTES_OF_WINDOW: Final = 4 * len(WINDOW_COUNTERS) + 2
"""Bytes of a window for each PE."""
_SHORT_LOOKS: Final = 8
"""Readings of the PEs' steps in a window."""
_SHORTEST_WINDOW: Final = 16
_PES_OF_CYCLE: Final = 200
"""PEs for each cycle of a window: with it, samples cost at most a fifth of an all-reduce."""
_LARGEST: Final = np.iinfo(np.uint32).max


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """How to read the step of a model that each PE is at."""

    symbol: str
    """The name of a 16-bit variable of every PE."""
    step_of_value: NDArray[np.int16]
    """The variable's value → the step."""

    def look(self, machine: Machine, addresses: NDArray[np.intp]) -> NDArray[np.int16]:
        """Return the step of each PE; `addresses` are the variable's."""
        pes = np.arange(len(addresses))
        low, high = (machine.memory[pes, addresses + byte] for byte in (0, 1))
        return self.step_of_value[low.astype(np.intp) | high.astype(np.intp) << 8]


def addresses_of(image: WaferImage, name: str) -> NDArray[np.intp]:
    """Return the address of a variable on each PE; every program must have it."""
    by_program = np.array(
        [
            next(symbol.address for symbol in tile.symbols if symbol.name == name)
            for tile in image.programs
        ]
    )
    return by_program[image.program_of_pe.reshape(-1)].astype(np.intp)


def most_windows(num_pes: int) -> int:
    """Return the number of windows that fit into memory: even, and at least two.

    >>> most_windows(755 * 1170), most_windows(4)
    (20, 128)
    """
    room = _MOST_BYTES // (_BYTES_OF_WINDOW * num_pes)
    return min(max(2, room - room % 2), _MOST_WINDOWS)


def usual_window(num_pes: int) -> int:
    """Return the default length of a run's first windows in cycles.

    >>> usual_window(4), usual_window(755 * 1170)
    (16, 4416)
    """
    return max(_SHORTEST_WINDOW, num_pes // _PES_OF_CYCLE)


@dataclass(slots=True)
class _Taken:
    """A complete window."""

    window: Window
    counts: NDArray[np.uint32]
    """`[counter, pe]`."""
    steps: NDArray[np.int16] | None

    def with_next(self, after: _Taken) -> _Taken:
        """Merge two windows; the steps are those at the end of the second."""
        both = Window(self.window.start_cycle, after.window.end_cycle)
        counts = after.counts + np.minimum(self.counts, _LARGEST - after.counts)
        return _Taken(both, counts, after.steps)


@dataclass(slots=True)
class _Steps:
    """The cycles that each PE spent in each step of a model, estimated from samples."""

    whereabouts: Whereabouts
    addresses: NDArray[np.intp]
    seen_cycle: int
    elapsed: Counter[int] = field(init=False, default_factory=Counter[int])
    """Step → cycles in which the slowest PE was at it; their sum is the cycles of the run."""
    _cycles: dict[int, NDArray[np.uint32]] = field(
        init=False, default_factory=dict[int, "NDArray[np.uint32]"]
    )
    """Step → cycles of each PE; only steps at which a PE was seen."""

    def look(self, machine: Machine) -> NDArray[np.int16]:
        """Return the step of each PE, and add the cycles since the last sample to it."""
        found = self.whereabouts.look(machine, self.addresses)
        elapsed, self.seen_cycle = machine.cycle - self.seen_cycle, machine.cycle
        at_work = found[found >= 0]
        if at_work.size:
            self.elapsed[int(at_work.min())] += elapsed
        for step in (np.flatnonzero(np.bincount(found + 1)) - 1).tolist():
            cycles = self._cycles.setdefault(step, np.zeros(len(found), np.uint32))
            cycles[found == step] += elapsed
        return found

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the cycles of each step, without those outside of all steps."""
        found = sorted(self._cycles.items())
        return {column_of_step(step): cycles for step, cycles in found if step >= 0}


class RunSamples(RunReader):
    """The windows of one run of a machine."""

    def __init__(
        self, machine: Machine, every: int, whereabouts: Whereabouts | None = None
    ) -> None:
        """Begin the first window, of `every` cycles."""
        image = machine.image
        self._machine = machine
        self._every = every
        self._most_windows = most_windows(image.width * image.height)
        self._start_cycle = machine.cycle
        self._taken: list[_Taken] = []
        self._steps: _Steps | None = None
        if whereabouts is not None:
            addresses = addresses_of(image, whereabouts.symbol)
            self._steps = _Steps(whereabouts, addresses, self._start_cycle)
        self._before = machine.totals()
        self._next_window = self._start_cycle + every
        self._plan_look(self._start_cycle)

    def _plan_look(self, cycle: int) -> None:
        """Set the cycle of the next sample: the window's end, or earlier for a model's steps."""
        until = self._every if self._steps is None else max(1, self._every // _SHORT_LOOKS)
        self.next_look = min(cycle + until, self._next_window)

    def look(self, machine: Machine) -> None:
        steps = None if self._steps is None else self._steps.look(machine)
        if machine.cycle >= self._next_window:
            self._end_window(machine, steps)
        self._plan_look(machine.cycle)

    def _end_window(self, machine: Machine, steps: NDArray[np.int16] | None) -> None:
        totals, window = machine.totals(), Window(self._start_cycle, machine.cycle)
        counts = np.subtract(totals, self._before, out=self._before)  # a wafer's take 21 MB
        counts.clip(0, _LARGEST, out=counts)
        busy = counts[Total.BUSY_CYCLES]
        busy.clip(max=window.end_cycle - window.start_cycle, out=busy)
        self._before = totals
        self._taken.append(_Taken(window, counts.astype(np.uint32), steps))
        if len(self._taken) == self._most_windows:
            pairs = zip(self._taken[::2], self._taken[1::2], strict=True)
            self._taken = [first.with_next(second) for first, second in pairs]
            self._every *= 2
        self._start_cycle = machine.cycle
        self._next_window = machine.cycle + self._every

    def finish(self) -> None:
        """End the last window at the end of the run."""
        if self._machine.cycle > self._start_cycle:
            self._next_window = self._machine.cycle
            self.look(self._machine)

    def cycles_of_steps(self) -> tuple[tuple[int, int], ...]:
        """Return pairs of a step and the cycles in which the slowest PE was at it."""
        return () if self._steps is None else tuple(sorted(self._steps.elapsed.items()))

    def taken(self) -> tuple[tuple[Window, ...], dict[str, NDArray[Any]]]:
        """Return the complete windows, and their columns."""
        columns = {} if self._steps is None else self._steps.columns()
        for number, taken in enumerate(self._taken):
            names = [column_of_window(number, counter) for counter in WINDOW_COUNTERS]
            columns |= dict(zip(names, taken.counts, strict=True))
            if taken.steps is not None:
                columns[column_of_window(number, WINDOW_STEP)] = taken.steps
        return tuple(taken.window for taken in self._taken), columns
