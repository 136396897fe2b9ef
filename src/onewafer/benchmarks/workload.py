"""A program with its input and its answer: what benchmarks and the whole-wafer examples run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.known_answers import KnownProgram

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.host import Device


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload(KnownProgram):
    """One program for one rectangle.

    To run it: `compile`, load a `Device`, `prepare`, launch `function`, `check`.
    """

    folder: str = "onewafer.benchmarks.programs"
    prepare: Callable[[Device], None]
    """Write the input to a device that was just loaded."""
    check: Callable[[Device], None]
    """Raise `WrongResultError` unless a device that ran to the end holds the right values."""
    function: str = "main"
    """The exported function that does the work."""
