"""The clock of the benchmarks; nothing else in onewafer looks at one."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Duration:
    """How long something took."""

    wall_seconds: float
    cpu_seconds: float
    """CPU time of this process, all threads together: independent of other load on the computer."""


class Stopwatch:
    """Measures from its creation on."""

    def __init__(self) -> None:
        """Start."""
        self._wall = time.perf_counter()
        self._cpu = time.process_time()

    def read(self) -> Duration:
        """Return the time since the start; CPU time is one tick of its clock at least."""
        cpu = max(time.process_time() - self._cpu, time.get_clock_info("process_time").resolution)
        return Duration(time.perf_counter() - self._wall, cpu)


def today() -> str:
    """Return the date, `2026-01-31`."""
    return time.strftime("%Y-%m-%d")
