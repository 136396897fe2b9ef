"""Counts and times as the tables of a report write them."""

from __future__ import annotations

from onewafer.units import format_hertz, format_seconds


def count(number: int, noun: str) -> str:
    """Return a count with its noun.

    >>> count(1, "launch"), count(1200, "launch"), count(2, "row")
    ('1 launch', '1,200 launches', '2 rows')
    """
    plural = f"{noun}es" if noun.endswith(("ch", "ss")) else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def show_time(seconds: float | None, clock_hertz: float) -> str | None:
    """Return a time and the clock that it holds for."""
    return None if seconds is None else f"{format_seconds(seconds)} at {format_hertz(clock_hertz)}"
