"""Spans of a run that was traced: when tasks, DSD operations and waits began and ended.

    spans := for each PE its spans, by their start
    span  := cycles [start, end) of a thread, a kind, a name, a source line

On a thread, tasks follow one another, and so do operations; an operation of the main thread lies in
a task, a wait in an operation or before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SPAN_KINDS = ("task", "operation", "wait")
MAIN_THREAD = 8
"""The number of the main thread; microthreads have 0 to 7."""


@dataclass(frozen=True, slots=True)
class Words:
    """A column of texts: numbers, and what they stand for."""

    numbers: NDArray[np.int32]
    texts: tuple[str, ...]

    def check(self) -> None:
        """Raise ValueError if a number stands for nothing."""
        if self.numbers.size and not 0 <= self.numbers.min() <= self.numbers.max() < len(
            self.texts
        ):
            raise ValueError("a span has a text that is not there")


@dataclass(frozen=True, slots=True)
class Spans:
    """The spans of all PEs, one PE after the other in reading order."""

    first: NDArray[np.int64]
    """`[num_pes + 1]`: the spans of PE i are those from `first[i]` to `first[i + 1]`."""
    start_cycle: NDArray[np.int64]
    end_cycle: NDArray[np.int64]
    cycles: NDArray[np.int64]
    """Those in which a wait waited: short waits of one kind are one span. All cycles of others."""
    thread: NDArray[np.int8]
    is_open: NDArray[np.bool_]
    """True if it had not ended when the run did."""
    kind: Words
    """One of `SPAN_KINDS`."""
    name: Words
    source: Words
    """`file:line`; empty: not known."""

    def check(self, num_pes: int) -> None:
        """Raise ValueError if they are not the spans of so many PEs."""
        num_spans = len(self.start_cycle)
        if len(self.first) != num_pes + 1 or self.first[0] != 0 or self.first[-1] != num_spans:
            raise ValueError("the spans belong to no PEs")
        columns = (self.end_cycle, self.cycles, self.thread, self.is_open)
        lengths = {len(column) for column in (*columns, *(w.numbers for w in self.words))}
        if lengths != {num_spans}:
            raise ValueError("a span is not whole")
        if num_spans and (self.start_cycle.min() < 0 or (self.end_cycle < self.start_cycle).any()):
            raise ValueError("a span ends before it begins")
        if num_spans and not 0 <= self.thread.min() <= self.thread.max() <= MAIN_THREAD:
            raise ValueError("a span is of no thread")
        for words in self.words:
            words.check()
        if not set(self.kind.texts) <= set(SPAN_KINDS):
            raise ValueError("a span is of no known kind")

    @property
    def words(self) -> tuple[Words, ...]:
        """Its columns of texts."""
        return self.kind, self.name, self.source
