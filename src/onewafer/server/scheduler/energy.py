"""Who pays for the power of an idle system: all sequences that are there, in equal shares."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class IdlePower:
    """The integral of idle power over the number of sequences that are there."""

    watts: float
    _joules: float = 0.0
    """Joules of a sequence that had always been there."""
    _since: float = 0.0
    _at_entry: dict[int, float] = field(default_factory=dict[int, float])

    def enter(self, sequence_id: int, now: float) -> None:
        """Begin to charge a sequence."""
        self._advance(now)
        self._at_entry[sequence_id] = self._joules

    def leave(self, sequence_id: int, now: float) -> float:
        """Return the joules of a sequence, which leaves."""
        self._advance(now)
        return self._joules - self._at_entry.pop(sequence_id)

    def forget(self, sequence_id: int, now: float) -> None:
        """Charge a sequence no longer, if it was there."""
        self._advance(now)
        self._at_entry.pop(sequence_id, None)

    def _advance(self, now: float) -> None:
        if self._at_entry:
            self._joules += self.watts * (now - self._since) / len(self._at_entry)
        self._since = now
