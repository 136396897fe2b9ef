"""The cycle counter of a PE (M22)."""

from __future__ import annotations

_MASK = (1 << 48) - 1
_STOP, _RESET_AND_START, _RESET = 0, 1, 2


class CycleCounter:
    """Counts cycles from a start, or holds a value."""

    __slots__ = ("_held", "_started_at")

    def __init__(self) -> None:
        self._held = 0
        self._started_at: int | None = None

    def read(self, cycle: int) -> int:
        """Return the 48-bit count in `cycle`."""
        count = self._held if self._started_at is None else cycle - self._started_at
        return count & _MASK

    def control(self, mode: int, cycle: int) -> None:
        """Do what TIMESTAMP_CONTROL says."""
        if mode == _STOP:
            self._held = self.read(cycle)
            self._started_at = None
        elif mode == _RESET_AND_START:
            self._started_at = cycle
        elif mode == _RESET:
            self._held = 0
            self._started_at = None if self._started_at is None else cycle
