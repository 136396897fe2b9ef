"""A model on a system that serves requests: its capacity, and the time of launches.

In: rows of a launch. Out: seconds until its results are there, and until the next launch may begin.
A simulation of requests (`onewafer.server`) chooses the rows of each launch and adds up times.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Rows(NamedTuple):
    """The rows of one launch: new tokens of sequences, parts of prompts, or both."""

    tokens: int = 0
    """Sequences with one new token each."""
    token_position: int = 0
    """Mean position of these tokens."""
    prompts: int = 0
    """Sequences that read a part of their prompt."""
    prompt_rows: int = 0
    """Tokens of prompts, all sequences together."""
    prompt_position: int = 0
    """Mean position of the first prompt row of each sequence."""


class LaunchTime(NamedTuple):
    """How long one launch takes."""

    latency_seconds: float
    """Time from the start of the launch to its results."""
    period_seconds: float
    """Time until the next launch may begin: that of the slowest stage."""
    joules: float
    """Energy beyond that of the idle system."""


class ServedSystem(Protocol):
    """A model laid over a system, ready for requests."""

    @property
    def name(self) -> str:
        """The name that the user wrote: `cs3`, `h100x8`."""
        ...

    @property
    def title(self) -> str:
        """`CS-3, WSE-3 at 850 MHz`, `8 × H100 SXM`."""
        ...

    @property
    def layout(self) -> str:
        """How the model is laid out, in a few words."""
        ...

    @property
    def replicas(self) -> int:
        """Copies of the model, each with launches of its own."""
        ...

    @property
    def num_slots(self) -> int:
        """Sequences that a replica can have at a time."""
        ...

    @property
    def room_tokens(self) -> int:
        """Tokens whose keys and values a replica has room for, over all its sequences."""
        ...

    @property
    def context(self) -> int:
        """Tokens that one sequence can have, prompt and answer."""
        ...

    @property
    def most_tokens(self) -> int:
        """Sequences whose new tokens one launch may have."""
        ...

    @property
    def most_prompt_rows(self) -> int:
        """Tokens of prompts that one launch may have."""
        ...

    def part_rows(self, tokens: int) -> int:
        """Return how many of a prompt's `tokens` a launch reads, so that all are read soonest.

        This is the rule of `compare` for a single prompt.
        """
        ...

    @property
    def is_mixed(self) -> bool:
        """True if one launch may mix new tokens with parts of several prompts."""
        ...

    @property
    def request_seconds(self) -> float:
        """Time from the client to the system."""
        ...

    @property
    def idle_watts(self) -> float:
        """Power of the whole system while nothing runs."""
        ...

    @property
    def clock_hertz(self) -> float | None:
        """The clock of wafers; None: GPUs, whose times are not cycles of one clock."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Assumptions that the user should know, a sentence each."""
        ...

    def time(self, rows: Rows) -> LaunchTime:
        """Return how long a launch takes; `rows` must be within the limits above."""
        ...


class AtPositions:
    """Launch times at any position, interpolated between measured positions.

    Attention takes a time that grows linearly with the position, in small steps. The grid is 0 and
    the powers of two from `_FIRST`.
    """

    _FIRST = 64

    def __init__(self, time: Callable[[int], LaunchTime], most: int) -> None:
        self._time = time
        self._grid = [0]
        while self._grid[-1] < most:
            self._grid.append(min(most, max(self._FIRST, 2 * self._grid[-1])))
        self._known: dict[int, LaunchTime] = {}
        """Times at positions of the grid, the only ones cached, so that a long-running server stays
        small."""

    def at(self, position: int) -> LaunchTime:
        """Return the time at a position, 0 to `most`."""
        index = bisect_right(self._grid, position) - 1
        low = self._grid[index]
        first = self._on_grid(low)
        if low == position:
            return first
        high = self._grid[index + 1]
        second, share = self._on_grid(high), (position - low) / (high - low)
        return LaunchTime(
            first.latency_seconds + share * (second.latency_seconds - first.latency_seconds),
            first.period_seconds + share * (second.period_seconds - first.period_seconds),
            first.joules + share * (second.joules - first.joules),
        )

    def _on_grid(self, position: int) -> LaunchTime:
        found = self._known.get(position)
        if found is None:
            found = self._known[position] = self._time(position)
        return found
