"""Spans of a traced run (tasks, DSD operations, waits), and moves of wavelets.

    spans := for each PE its spans, by their start
    span  := cycles [start, end) of a thread, a kind, a name, a source line
    moves := for each PE the wavelets that left its router, by their cycle
    move  := a cycle, a color, the direction in which the wavelet went

On a thread, tasks follow one another, and so do operations; an operation of the main thread lies in
a task, a wait in an operation or before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from onewafer.geometry import Direction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

SPAN_KINDS = ("task", "operation", "wait")
MAIN_THREAD = 8
"""The number of the main thread; microthreads have 0 to 7."""


@dataclass(frozen=True, slots=True)
class Words:
    """A dictionary-encoded column of texts."""

    numbers: NDArray[np.int32]
    texts: tuple[str, ...]

    def check(self) -> None:
        """Raise ValueError if a number has no text."""
        if self.numbers.size and not 0 <= self.numbers.min() <= self.numbers.max() < len(
            self.texts
        ):
            raise ValueError("a span has a text that is not there")


@dataclass(frozen=True, slots=True)
class Spans:
    """The spans of all PEs, one PE after the other in reading order."""

    prefix: ClassVar[str] = "span"
    numbers: ClassVar[Mapping[str, type[np.generic]]] = {
        "start_cycle": np.int64,
        "end_cycle": np.int64,
        "cycles": np.int64,
        "thread": np.int8,
        "is_open": np.bool_,
    }
    texts: ClassVar[tuple[str, ...]] = ("kind", "name", "source")

    first: NDArray[np.int64]
    """`[num_pes + 1]`: the spans of PE i are those from `first[i]` to `first[i + 1]`."""
    start_cycle: NDArray[np.int64]
    end_cycle: NDArray[np.int64]
    cycles: NDArray[np.int64]
    """Waiting cycles of a wait, in which short waits of one kind are merged; all cycles of other
    spans."""
    thread: NDArray[np.int8]
    is_open: NDArray[np.bool_]
    """True if it had not ended at the end of the run."""
    kind: Words
    """One of `SPAN_KINDS`."""
    name: Words
    source: Words
    """`file:line`; empty: not known."""

    def check(self, num_pes: int) -> None:
        """Raise ValueError if they are not the spans of so many PEs."""
        num_spans = len(self.start_cycle)
        _check_lists(self, num_pes)
        if num_spans and (self.start_cycle.min() < 0 or (self.end_cycle < self.start_cycle).any()):
            raise ValueError("a span ends before it begins")
        if num_spans and not 0 <= self.thread.min() <= self.thread.max() <= MAIN_THREAD:
            raise ValueError("a span is of no thread")
        for words in (self.kind, self.name, self.source):
            words.check()
        if not set(self.kind.texts) <= set(SPAN_KINDS):
            raise ValueError("a span is of no known kind")


@dataclass(frozen=True, slots=True)
class Moves:
    """The wavelets that left the routers of all PEs, one PE after the other in reading order."""

    prefix: ClassVar[str] = "move"
    numbers: ClassVar[Mapping[str, type[np.generic]]] = {
        "cycle": np.int64,
        "color": np.int8,
        "side": np.int8,
    }
    texts: ClassVar[tuple[str, ...]] = ()

    first: NDArray[np.int64]
    """`[num_pes + 1]`: the moves of PE i are those from `first[i]` to `first[i + 1]`."""
    cycle: NDArray[np.int64]
    color: NDArray[np.int8]
    side: NDArray[np.int8]
    """Number of a `Direction`; the ramp: it was delivered to the PE. A multicast has a move a
    side."""

    def check(self, num_pes: int) -> None:
        """Raise ValueError if they are not the moves of so many PEs."""
        _check_lists(self, num_pes)
        if len(self.cycle) and (
            self.cycle.min() < 0 or not 0 <= self.side.min() <= self.side.max() <= max(Direction)
        ):
            raise ValueError("a wavelet goes to no side")


def _check_lists(lists: Spans | Moves, num_pes: int) -> None:
    """Raise ValueError if columns are not lists of so many PEs."""
    columns = [getattr(lists, name) for name in lists.numbers]
    columns += [getattr(lists, name).numbers for name in lists.texts]
    sizes, first = {len(column) for column in columns}, lists.first
    if len(first) != num_pes + 1 or first[0] != 0 or {int(first[-1])} != sizes:
        raise ValueError(f"a {lists.prefix} is not whole")
