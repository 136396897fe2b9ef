"""Where tensors lie in an arena while they are live."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class FirstFit:
    """Offsets in an arena: the lowest gap that is large enough."""

    period: int = 1
    """Elements after which banks repeat."""
    live: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    """Name → first and end offset."""
    num_elements: int = 0

    def allocate(self, name: str, size: int, phase: int) -> int:
        """Return an offset that is `phase` modulo the period."""
        offset = phase
        for start, end in sorted(self.live.values()):
            if offset + size <= start:
                break
            offset = max(offset, end + (phase - end) % self.period)
        self.live[name] = (offset, offset + size)
        self.num_elements = max(self.num_elements, offset + size)
        return offset

    @property
    def in_use(self) -> int:
        """Elements that something live has; tensors may share some."""
        total = last = 0
        for start, end in sorted(self.live.values()):
            total += max(0, end - max(start, last))
            last = max(last, end)
        return total

    def append(self, size: int) -> int:
        """Return an offset behind all that has ever been allocated."""
        offset = -(-self.num_elements // self.period) * self.period
        self.num_elements = offset + size
        return offset
