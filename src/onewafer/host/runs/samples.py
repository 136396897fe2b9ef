"""Samples of a run on its way into a recording: what every PE did, window by window.

In: looks at a machine every so many cycles. Out: windows, and columns for each of them. Memory is
bounded: where there is no room for more windows, each two neighbours become one, and from then on
looks are half as frequent. So a run of any length has between half of the most windows and all,
and twice as many cycles take no more than half as many looks again. Between two windows of a model
there are short looks at the step of each PE, from which follows how long it was at each.
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
"""The most bytes that windows take in memory."""
_MOST_WINDOWS: Final = 128
_BYTES_OF_WINDOW: Final = 4 * len(WINDOW_COUNTERS) + 2
"""Bytes of a window for each PE."""
_SHORT_LOOKS: Final = 8
"""Looks at the steps of PEs in a window."""
_SHORTEST_WINDOW: Final = 16
_PES_OF_CYCLE: Final = 200
"""A window of a cycle for so many PEs makes looks cost at most a fifth of an all-reduce."""
_LARGEST: Final = np.iinfo(np.uint32).max


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """How to see which step of a model each PE is at."""

    symbol: str
    """A variable of 16 bits of every PE."""
    step_of_value: NDArray[np.int16]
    """For each of its values the step."""

    def look(self, machine: Machine, addresses: NDArray[np.intp]) -> NDArray[np.int16]:
        """Return the step of each PE; `addresses` are those of the variable."""
        pes = np.arange(len(addresses))
        low, high = (machine.memory[pes, addresses + byte] for byte in (0, 1))
        return self.step_of_value[low.astype(np.intp) | high.astype(np.intp) << 8]


def addresses_of(image: WaferImage, name: str) -> NDArray[np.intp]:
    """Return where a variable is in the memory of each PE; every program has it."""
    by_program = np.array(
        [
            next(symbol.address for symbol in tile.symbols if symbol.name == name)
            for tile in image.programs
        ]
    )
    return by_program[image.program_of_pe.reshape(-1)].astype(np.intp)


def most_windows(num_pes: int) -> int:
    """Return how many windows there is memory for: an even number, and two at least.

    >>> most_windows(755 * 1170), most_windows(4)
    (20, 128)
    """
    room = _MOST_BYTES // (_BYTES_OF_WINDOW * num_pes)
    return min(max(2, room - room % 2), _MOST_WINDOWS)


def usual_window(num_pes: int) -> int:
    """Return the cycles of the first windows of a run whose user names none.

    >>> usual_window(4), usual_window(755 * 1170)
    (16, 4416)
    """
    return max(_SHORTEST_WINDOW, num_pes // _PES_OF_CYCLE)


@dataclass(slots=True)
class _Taken:
    """A window that is over."""

    window: Window
    counts: NDArray[np.uint32]
    """`[counter, pe]`."""
    steps: NDArray[np.int16] | None

    def with_next(self, after: _Taken) -> _Taken:
        """Return both as one window; PEs are then at what they are at the end of the second."""
        both = Window(self.window.start_cycle, after.window.end_cycle)
        counts = after.counts + np.minimum(self.counts, _LARGEST - after.counts)
        return _Taken(both, counts, after.steps)


@dataclass(slots=True)
class _Steps:
    """How long each PE was at each step of a model, by the looks at it so far."""

    whereabouts: Whereabouts
    addresses: NDArray[np.intp]
    seen_cycle: int
    elapsed: Counter[int] = field(init=False, default_factory=Counter[int])
    """Cycles in which the PE that is last was at a step: together they are those of the run."""
    _cycles: dict[int, NDArray[np.uint32]] = field(
        init=False, default_factory=dict[int, "NDArray[np.uint32]"]
    )
    """By step; one that no PE was seen at has none."""

    def look(self, machine: Machine) -> NDArray[np.int16]:
        """Return the steps that PEs are at, and count the cycles since the last look for them."""
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
        """Return the cycles of each step but those before the first and behind the last one."""
        found = sorted(self._cycles.items())
        return {column_of_step(step): cycles for step, cycles in found if step >= 0}


class RunSamples(RunReader):
    """The windows of one run of one machine."""

    def __init__(
        self, machine: Machine, every: int, whereabouts: Whereabouts | None = None
    ) -> None:
        """Begin the first window, of so many cycles."""
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
        """Look next at the end of the window, or before it at the steps of a model."""
        until = self._every if self._steps is None else max(1, self._every // _SHORT_LOOKS)
        self.next_look = min(cycle + until, self._next_window)

    def look(self, machine: Machine) -> None:
        """Note the steps of PEs; end a window where one ends."""
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
        """Return steps with the cycles in which the PE that is last was at them."""
        return () if self._steps is None else tuple(sorted(self._steps.elapsed.items()))

    def taken(self) -> tuple[tuple[Window, ...], dict[str, NDArray[Any]]]:
        """Return the windows that are over, and the columns of all."""
        columns = {} if self._steps is None else self._steps.columns()
        for number, taken in enumerate(self._taken):
            names = [column_of_window(number, counter) for counter in WINDOW_COUNTERS]
            columns |= dict(zip(names, taken.counts, strict=True))
            if taken.steps is not None:
                columns[column_of_window(number, WINDOW_STEP)] = taken.steps
        return tuple(taken.window for taken in self._taken), columns
