"""Samples of a run on its way into a recording: what every PE did, window by window.

In: looks at a machine every so many cycles. Out: windows, and columns for each of them. Memory is
bounded: where there is no room for more windows, each two neighbours become one, and from then on
looks are half as frequent. So a run of any length has between half of the most windows and all,
and twice as many cycles take no more than half as many looks again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from onewafer.recording import WINDOW_COUNTERS, WINDOW_PART, Window, column_of_window
from onewafer.simulator import Total

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.image import WaferImage
    from onewafer.simulator import Machine

_MOST_BYTES: Final = 1 << 28
"""The most bytes that windows take in memory."""
_MOST_WINDOWS: Final = 128
_BYTES_OF_WINDOW: Final = 4 * len(WINDOW_COUNTERS) + 1
"""Bytes of a window for each PE."""
_LARGEST: Final = np.iinfo(np.uint32).max


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """How to see which part of a model each PE is at."""

    symbol: str
    """A variable of 16 bits of every PE."""
    part_of_value: NDArray[np.int8]
    """For each of its values an index into `parts`."""
    parts: tuple[str, ...]

    def look(self, machine: Machine, addresses: NDArray[np.intp]) -> NDArray[np.int8]:
        """Return the part of each PE; `addresses` are those of the variable."""
        pes = np.arange(len(addresses))
        low, high = (machine.memory[pes, addresses + byte] for byte in (0, 1))
        return self.part_of_value[low.astype(np.intp) | high.astype(np.intp) << 8]


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
    (22, 128)
    """
    room = _MOST_BYTES // (_BYTES_OF_WINDOW * num_pes)
    return min(max(2, room - room % 2), _MOST_WINDOWS)


@dataclass(slots=True)
class _Taken:
    """A window that is over."""

    window: Window
    counts: NDArray[np.uint32]
    """`[counter, pe]`."""
    parts: NDArray[np.int8] | None

    def with_next(self, after: _Taken) -> _Taken:
        """Return both as one window; PEs are then at what they are at the end of the second."""
        both = Window(self.window.start_cycle, after.window.end_cycle)
        counts = after.counts + np.minimum(self.counts, _LARGEST - after.counts)
        return _Taken(both, counts, after.parts)


@dataclass(slots=True)
class RunSamples:
    """The windows of one run of one machine; a `Sampler`."""

    machine: Machine
    every: int
    """Cycles of a window."""
    whereabouts: Whereabouts | None = None
    next_look: int = field(init=False)
    _taken: list[_Taken] = field(init=False, default_factory=list[_Taken])
    _addresses: NDArray[np.intp] | None = field(init=False, default=None)
    _before: NDArray[np.int64] = field(init=False)
    _start_cycle: int = field(init=False)
    _most_windows: int = field(init=False)

    def __post_init__(self) -> None:
        """Begin the first window."""
        image = self.machine.image
        self._most_windows = most_windows(image.width * image.height)
        if self.whereabouts is not None:
            self._addresses = addresses_of(image, self.whereabouts.symbol)
        self._start_cycle = self.machine.cycle
        self._before = self.machine.totals()
        self.next_look = self._start_cycle + self.every

    def look(self, machine: Machine) -> None:
        """End a window, and begin the next one."""
        totals, window = machine.totals(), Window(self._start_cycle, machine.cycle)
        counts = np.subtract(totals, self._before, out=self._before)  # a wafer's take 21 MB
        counts.clip(0, _LARGEST, out=counts)
        busy = counts[Total.BUSY_CYCLES]
        busy.clip(max=window.end_cycle - window.start_cycle, out=busy)
        self._before = totals
        parts = None
        if self.whereabouts is not None and self._addresses is not None:
            parts = self.whereabouts.look(machine, self._addresses)
        self._taken.append(_Taken(window, counts.astype(np.uint32), parts))
        if len(self._taken) == self._most_windows:
            pairs = zip(self._taken[::2], self._taken[1::2], strict=True)
            self._taken = [first.with_next(second) for first, second in pairs]
            self.every *= 2
        self._start_cycle = machine.cycle
        self.next_look = machine.cycle + self.every

    def finish(self) -> None:
        """End the last window at the end of the run."""
        if self.machine.cycle > self._start_cycle:
            self.look(self.machine)

    def taken(self) -> tuple[tuple[Window, ...], dict[str, NDArray[Any]]]:
        """Return the windows that are over, and the columns of all."""
        columns: dict[str, NDArray[Any]] = {}
        for number, taken in enumerate(self._taken):
            names = [column_of_window(number, counter) for counter in WINDOW_COUNTERS]
            columns |= dict(zip(names, taken.counts, strict=True))
            if taken.parts is not None:
                columns[column_of_window(number, WINDOW_PART)] = taken.parts
        return tuple(taken.window for taken in self._taken), columns
