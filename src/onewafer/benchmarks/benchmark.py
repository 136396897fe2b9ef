"""A benchmark as a value, and the conditions of its run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from onewafer.benchmarks.figures import Goal, Measurement

Sizes: TypeAlias = "Mapping[str, int]"
"""The sizes that can be changed: `width`, `height`, `num_words`, …"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """The conditions of a measurement."""

    engine: str
    repeat: int
    """Runs after the first; their median is reported. 0: the first is the only one, and counts."""
    note: Callable[[str], None]
    """Called with the current action in a few words, for a progress line."""
    threads: int = 1
    """Most threads that simulate."""
    max_memory: int | None = None
    """Bytes that a simulation may need; None: what the computer has available."""


Measure: TypeAlias = "Callable[[Conditions, Sizes], Measurement]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One row of the table."""

    name: str
    title: str
    """The title in a line; `{width}` and other sizes are filled in."""
    measure: Measure
    sizes: Sizes
    quick_sizes: Sizes
    """Sizes for tests, which take a second on the slowest engine."""
    goals: tuple[Goal, ...] = ()
    finding: str = ""
    """Why goals are missed, as far as known; shown only if one is."""
    is_large: bool = False
    """True if it needs minutes or gigabytes: it runs only on request, and once."""

    def describe(self, sizes: Sizes) -> str:
        """Return the title for these sizes."""
        return self.title.format(**sizes)
