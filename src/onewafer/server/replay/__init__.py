"""Replay of request traces on the simulated clock of a served system, without values."""

from onewafer.server.replay.replaying import Replay, ReplayedRequest, replay
from onewafer.server.replay.trace import TraceRequest, read_trace

__all__ = ["Replay", "ReplayedRequest", "TraceRequest", "read_trace", "replay"]
