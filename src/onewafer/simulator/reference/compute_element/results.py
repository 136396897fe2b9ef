"""Latency of results: reads by the next operation (M152) and of the cycle counter (M22)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.simulator.reference.compute_element.operand import bytes_of

if TYPE_CHECKING:
    from onewafer.arch import Timing
    from onewafer.simulator.reference.compute_element.operation import Operation


class LastResult:
    """The last result of a synchronous operation of a PE, and when it ended."""

    __slots__ = ("_timing", "end", "first", "last", "wait")

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self.end = 0
        self.wait = 0
        """Cycles from the end to the start of an operation that reads the result."""
        self.first = self.last = 0
        """The first and the last byte."""

    def hold_back(self, operation: Operation) -> None:
        """Delay an issued operation until it can read the result (M152)."""
        ranges = [bytes_of(s, operation.length) for s in (operation.src0, operation.src1)]
        if any(r is not None and r[0] <= self.last and self.first <= r[1] for r in ranges):
            operation.start = max(operation.start, self.end + self.wait)

    def note(self, operation: Operation) -> None:
        """Note the result's address range of an issued synchronous operation."""
        written = bytes_of(operation.dest, operation.length)
        cycles = operation.remaining
        if operation.is_stepwise:
            cycles = operation.length * operation.element_cycles
        self.wait = 0 if written is None else max(0, self._timing.result_cycles - cycles)
        if self.wait and written is not None:
            self.first, self.last = written

    def issue_of_read(self, cycle: int) -> int:
        """Return the issue cycle of a counter read that could issue in `cycle` (M22)."""
        return max(cycle, self.end + self._timing.timestamp_drain_cycles)

    def cycle_of_read(self, issue: int) -> int:
        """Return the value of the cycle counter for a read that issues in `issue` (M22)."""
        return issue + self._timing.timestamp_wait_cycles
