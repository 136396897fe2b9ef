"""What a simulated wafer can tell: events, and a recorder that keeps them in memory.

"The same cycles" of two engines means: the same events.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol


class EventKind(IntEnum):
    """What happened; the comment says what `subject` and `value` of the event are."""

    TASK_START = 0
    """First instruction of a task. Task id; program counter."""
    DSD_START = 1
    """First element of a DSD operation. Microthread (8: main thread); `DsdOperation`."""
    DSD_END = 2
    """End of a DSD operation. Microthread (8: main thread); `DsdOperation`."""
    RAMP_ARRIVAL = 3
    """A router hands a wavelet to the ramp. Color; payload."""
    HOP = 4
    """A wavelet leaves a router by a link. Color; direction."""
    TIMESTAMP = 5
    """The cycle counter is read. Address; value read."""
    STREAM_UNBLOCKED = 6
    """The program accepts the next host command. 0; 0."""


@dataclass(frozen=True, slots=True, order=True)
class Event:
    """One event at one PE."""

    cycle: int
    y: int
    x: int
    kind: EventKind
    subject: int
    value: int


class EventSink(Protocol):
    """Takes events, in any order of cycles."""

    def record(self, event: Event) -> None:
        """Take one event."""
        ...


class EventRecorder:
    """Keeps every event in memory."""

    def __init__(self) -> None:
        self._events: list[Event] = []

    def record(self, event: Event) -> None:
        """Take one event."""
        self._events.append(event)

    def events(self, *kinds: EventKind) -> tuple[Event, ...]:
        """Return the events of some kinds (none given: all), ordered by cycle, then y, then x."""
        return tuple(sorted(e for e in self._events if not kinds or e.kind in kinds))
