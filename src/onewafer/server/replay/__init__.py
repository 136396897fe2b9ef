"""Replay a trace of requests on the clock of the served system: nothing sleeps or computes."""

from onewafer.server.replay.replaying import Replay, ReplayedRequest, replay
from onewafer.server.replay.trace import TraceRequest, read_trace

__all__ = ["Replay", "ReplayedRequest", "TraceRequest", "read_trace", "replay"]
