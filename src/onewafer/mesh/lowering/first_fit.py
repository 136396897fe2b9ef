"""First-fit allocation of blocks in an arena."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class FirstFit:
    """An arena whose blocks take the lowest gap that is large enough."""

    period: int = 1
    """The number of elements after which memory banks repeat."""
    live: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    """Live blocks: name → first offset, end offset."""
    num_elements: int = 0

    def allocate(self, name: str, size: int, phase: int) -> int:
        """Allocate a block whose offset is `phase` modulo the period; return the offset."""
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
        """The elements of live blocks; shared elements count once."""
        total = last = 0
        for start, end in sorted(self.live.values()):
            total += max(0, end - max(start, last))
            last = max(last, end)
        return total

    def append(self, size: int) -> int:
        """Return an offset behind all blocks allocated so far."""
        offset = -(-self.num_elements // self.period) * self.period
        self.num_elements = offset + size
        return offset
