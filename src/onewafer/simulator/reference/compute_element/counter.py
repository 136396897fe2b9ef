"""The cycle counter of a PE (M22)."""

from __future__ import annotations

_MASK = (1 << 48) - 1
_STOP, _RESET_AND_START, _RESET = 0, 1, 2


class CycleCounter:
    """Counts cycles from a start, or holds a value."""

    __slots__ = ("held", "started_at")

    def __init__(self) -> None:
        self.held = 0
        self.started_at: int | None = None

    def read(self, cycle: int) -> int:
        """Return the 48-bit count in `cycle`."""
        count = self.held if self.started_at is None else cycle - self.started_at
        return count & _MASK

    def control(self, mode: int, cycle: int) -> None:
        """Execute TIMESTAMP_CONTROL."""
        if mode == _STOP:
            self.held = self.read(cycle)
            self.started_at = None
        elif mode == _RESET_AND_START:
            self.started_at = cycle
        elif mode == _RESET:
            self.held = 0
            self.started_at = None if self.started_at is None else cycle
