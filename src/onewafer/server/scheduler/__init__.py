"""A discrete-event simulation of requests on the served system: launches, and times of tokens.

The result depends only on arrivals and token counts, not on the speed of this computer.
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
