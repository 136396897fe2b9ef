"""A served system of a few plain numbers, for tests that count by hand."""

from __future__ import annotations

from dataclasses import dataclass

from onewafer.perf import LaunchTime, Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainSystem:
    """Launches take a time that depends on their rows alone."""

    name: str = "plain"
    title: str = "Plain"
    layout: str = "one region"
    replicas: int = 1
    num_slots: int = 4
    room_tokens: int = 1_000
    context: int = 250
    most_tokens: int = 1
    most_prompt_rows: int = 4
    is_mixed: bool = False
    request_seconds: float = 0.0
    idle_watts: float = 100.0
    clock_hertz: float | None = 1e9
    notes: tuple[str, ...] = ()
    latency: float = 1.0
    """Seconds of a launch."""
    latency_of_row: float = 0.0
    """Seconds of a launch for each of its rows, beside `latency`."""
    period: float = 0.25
    """Seconds for each row."""
    joules: float = 2.0
    """Joules for each row."""

    def part_rows(self, tokens: int) -> int:
        """Return as many rows as a launch may have."""
        return min(tokens, self.most_prompt_rows)

    def time(self, rows: Rows) -> LaunchTime:
        """Return the time of a launch."""
        count = rows.tokens + rows.prompt_rows
        latency = self.latency + self.latency_of_row * count
        return LaunchTime(latency, self.period * count, self.joules * count)
