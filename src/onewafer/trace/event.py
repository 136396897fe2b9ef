"""Events of a simulated wafer, and a recorder that keeps them in memory.

Two engines agree on cycles if their events of the kinds up to `STREAM_UNBLOCKED`, and `PRINT`, are
equal. The other kinds give the causes; only the reference engine records them, and only if asked
for that much `Detail`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol


class EventKind(IntEnum):
    """The kind of event, with the meaning of an event's `subject` and `value`."""

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

    # Detail.CAUSES
    TASK_END = 7
    """The main thread is free for the next task. 0; program counter of the last instruction."""
    ISSUE = 8
    """A DSD operation issues. Microthread (8: main thread); program counter | elements << 16 |
    1 << 32 if its sources share memory banks (M13)."""
    WAIT = 9
    """An operation, or the main thread before one, begins to wait for a cause. Microthread (8: main
    thread); `wait_of` gives reason, color and queue."""
    QUEUED = 10
    """An operation writes a wavelet into an output queue. Color | queue << 8; payload."""
    MOVE = 11
    """A wavelet leaves a router. Color | `Direction` it came from << 8 | directions it goes to (bit
    mask; the ramp only if it is delivered) << 16 | directions in which it leaves with the other
    color of its pair << 24 | output queue it came from << 32; payload."""
    HELD = 12
    """The oldest wavelet of a buffer or queue begins to wait for a cause. Color | `Direction` it
    comes from << 8 | output queue << 16; 1 + `StallReason`, 0: nothing any more."""

    # Detail.INSTRUCTIONS
    INSTRUCTION = 13
    """The main thread issues an instruction. 0; program counter."""

    # Detail.EVENTS again
    PRINT = 14
    """The program prints. `PrintForm` | `ScalarType` << 8; the word, or number of the message."""


class Detail(IntEnum):
    """The level of detail; each level includes those before it."""

    EVENTS = 0
    """The events that both engines record."""
    CAUSES = 1
    """Causes as well: waits, and the route of every wavelet."""
    INSTRUCTIONS = 2
    """Every instruction of the main thread too."""


CONTROL_MARK = 1 << 32
"""The bit of a payload that marks a control wavelet."""
NO_COLOR, NO_QUEUE = 0xFF, 0xFF


@dataclass(frozen=True, slots=True)
class Wait:
    """The resource that a DSD operation waits for."""

    reason: int
    """A `StallReason`; −1: nothing any more."""
    color: int = NO_COLOR
    """Color of the wavelet or queue slot that it waits for, if the fabric is involved."""
    queue: int = NO_QUEUE
    """Input or output queue, where that has a number."""

    @property
    def value(self) -> int:
        """The encoded value of the event."""
        return self.reason + 1 | self.color << 8 | self.queue << 16


def wait_of(value: int) -> Wait:
    """Decode the value of a `WAIT` event.

    >>> wait_of(Wait(reason=0, color=7, queue=2).value)
    Wait(reason=0, color=7, queue=2)
    """
    return Wait((value & 0xFF) - 1, value >> 8 & 0xFF, value >> 16 & 0xFF)


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


class EventFork:
    """Passes events on to several sinks."""

    def __init__(self, *sinks: EventSink) -> None:
        self._sinks = sinks

    def record(self, event: Event) -> None:
        """Take one event."""
        for sink in self._sinks:
            sink.record(event)


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
