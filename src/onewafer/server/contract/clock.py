"""The clock of this computer, which dates and measures answers; it affects no launch."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def seconds_since_1970() -> float:
    """Return the time of day."""
    return time.time()


def seconds_running() -> float:
    """Return the seconds of a monotonic clock."""
    return time.perf_counter()


def to_iso(seconds: float) -> str:
    """Return a Unix time as ISO 8601 text in UTC.

    >>> to_iso(0)
    '1970-01-01T00:00:00.000Z'
    """
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
