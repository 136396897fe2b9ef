"""Contract 2, simulator → viewers: events."""

from onewafer.trace.event import Event, EventKind, EventRecorder, EventSink

__all__ = ["Event", "EventKind", "EventRecorder", "EventSink"]
