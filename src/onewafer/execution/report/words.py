"""Times as the tables of a report write them."""

from __future__ import annotations

from onewafer.units import format_hertz, format_seconds


def show_time(seconds: float | None, clock_hertz: float) -> str | None:
    """Return a time and the clock that it holds for."""
    return None if seconds is None else f"{format_seconds(seconds)} at {format_hertz(clock_hertz)}"
