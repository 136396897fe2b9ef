"""Contract 2, simulator → viewers: events."""

from onewafer.trace.event import (
    CONTROL_MARK,
    NO_COLOR,
    NO_QUEUE,
    Detail,
    Event,
    EventFork,
    EventKind,
    EventRecorder,
    EventSink,
    Wait,
    wait_of,
)

__all__ = [
    "CONTROL_MARK",
    "NO_COLOR",
    "NO_QUEUE",
    "Detail",
    "Event",
    "EventFork",
    "EventKind",
    "EventRecorder",
    "EventSink",
    "Wait",
    "wait_of",
]
