"""Requests in wafer time: which rows go together in a launch, and when each token is there.

A discrete-event simulation. Its result follows from arrivals and token counts alone: how long this
computer takes to compute a token changes nothing.
"""

from onewafer.server.scheduler.sequences import (
    Arrival,
    Began,
    Finished,
    Happening,
    SequenceTimes,
    Token,
)
from onewafer.server.scheduler.timeline import Timeline

__all__ = [
    "Arrival",
    "Began",
    "Finished",
    "Happening",
    "SequenceTimes",
    "Timeline",
    "Token",
]
