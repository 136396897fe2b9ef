"""The cost of a run: counters that every engine keeps."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


class StallReason(IntEnum):
    """The reason of a stall: why a unit with work could not act in a cycle."""

    INPUT_EMPTY = 0
    """A DSD operation waits for a wavelet."""
    OUTPUT_FULL = 1
    """A DSD operation waits for a free slot in its output queue."""
    DATA_PATH = 2
    """A DSD operation waits for the data path."""
    MICROTHREAD_BUSY = 3
    """The main thread waits for a microthread."""
    LINK_BUSY = 4
    """A wavelet waits for a link or for the ramp."""
    NO_CREDIT = 5
    """A wavelet waits for a free slot in the next router or in an input queue."""
    NO_ROUTE = 6
    """A wavelet has no route at its PE."""
    SWITCH = 7
    """A wavelet waits for a switch to advance, or for the end of a teardown."""
    FIFO = 8
    """A DSD operation waits for an element or a free slot in a FIFO."""


class Total(IntEnum):
    """The rows of `totals`: counters of each PE for frequent sampling."""

    BUSY_CYCLES = 0
    """Main thread and data path cycles together (they may overlap)."""
    WAIT_CYCLES = 1
    """Stall cycles for all reasons together."""
    WAVELETS = 2
    """Wavelets that left the router over links."""


@dataclass(frozen=True, slots=True)
class Activity:
    """Counters of PE activity, cheap enough for frequent sampling."""

    steps: NDArray[np.int64]
    """`[y, x]`: instructions and DSD elements."""
    wavelet_hops: int
    """Link traversals between PEs."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counters since the program was loaded. PE arrays are indexed `[y, x]`."""

    cycles: int
    main_thread_cycles: NDArray[np.int64]
    """Cycles in which the main thread issued or executed an instruction (waiting not counted)."""
    data_path_cycles: NDArray[np.int64]
    """Cycles in which the data path worked on DSD elements."""
    instructions: NDArray[np.int64]
    dsd_elements: NDArray[np.int64]
    task_starts: NDArray[np.int64]
    link_wavelets: NDArray[np.int64]
    """`[y, x, 5]`: wavelets that left the router by each `Direction` (RAMP: to the PE)."""
    stall_cycles: Mapping[StallReason, NDArray[np.int64]]
    """`[y, x]` for each reason; several units of a PE may stall in one cycle."""

    @property
    def busy_cycles(self) -> NDArray[np.int64]:
        """Main thread and data path cycles together, at most `cycles` (they may overlap)."""
        return (self.main_thread_cycles + self.data_path_cycles).clip(max=self.cycles)

    @property
    def wavelet_hops(self) -> int:
        """Link traversals between PEs."""
        return int(self.link_wavelets[:, :, :4].sum())

    def totals(self) -> NDArray[np.int64]:
        """Return the totals of each PE as `[total, pe]`, see `Total`."""
        rows = {
            Total.BUSY_CYCLES: self.main_thread_cycles + self.data_path_cycles,
            Total.WAIT_CYCLES: np.sum([*self.stall_cycles.values()], axis=0),
            Total.WAVELETS: self.link_wavelets[:, :, :4].sum(axis=2),
        }
        return np.stack([rows[total].reshape(-1) for total in Total])
