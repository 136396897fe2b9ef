"""The exception tree.

Every error a user can meet is an `OnewaferError`; the command line prints its message and exits
with its `exit_code`. Anything else that escapes is a bug of ours and is reported as such.
"""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence


class OnewaferError(Exception):
    """Base of every error that onewafer raises on purpose."""

    exit_code = 1

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows, without our own frames: they hide the message."""
        from onewafer.process.tracebacks import render_in_notebook  # noqa: PLC0415  # only IPython asks

        return render_in_notebook(self)


class ConfigurationError(OnewaferError):
    """An option, environment variable or machine description is not usable."""

    exit_code = 2


class StrictError(ConfigurationError):
    """The wafer cannot run a module, and option `--strict` makes that an error."""


class CompileError(OnewaferError):
    """The program does not compile; `diagnostics` holds every finding, `str` shows them."""

    def __init__(self, rendered: str, diagnostics: Sequence[object] = ()) -> None:
        super().__init__(rendered)
        self.diagnostics = tuple(diagnostics)


class GraphError(OnewaferError):
    """A graph breaks a rule of its contract or cannot be read."""

    result: str | None = None
    """The name of the result whose operation breaks a rule; None: the graph as a whole does."""
    finding: str | None = None
    """The text of the last finding, without the operation's name."""


class ImageError(OnewaferError):
    """A wafer image breaks a rule of its contract or cannot be read."""


class CheckpointError(OnewaferError):
    """A checkpoint cannot be written, cannot be read, or is not of this program or onewafer."""


class TraceError(OnewaferError):
    """A trace cannot be read, or was recorded with too little detail for the request."""


class RecordingError(OnewaferError):
    """A recording of a run cannot be read, or lacks the requested part."""


@dataclass(frozen=True, slots=True)
class Place:
    """The place and time of an event on the wafer: program-relative PE and cycle."""

    x: int
    y: int
    cycle: int

    def __str__(self) -> str:
        """Return `PE (x, y) at cycle c`."""
        return f"PE ({self.x}, {self.y}) at cycle {self.cycle}"


class SimulationError(OnewaferError):
    """The simulated program did something the machine cannot do."""

    def __init__(self, reason: str, place: Place | None = None) -> None:
        super().__init__(f"{place}: {reason}" if place else reason)
        self.reason = reason
        self.place = place


class DeadlockError(SimulationError):
    """Nothing can move any more, and something still waits; the message says what and why."""


class LongRunError(SimulationError):
    """A launch takes more cycles than the user allows."""


class HazardError(SimulationError):
    """Two uses of one resource collided (a microthread re-entered, a queue re-bound, …)."""


class HostError(OnewaferError):
    """A host call is wrong: unknown symbol, bad shape, read-only target, call out of order."""


@dataclass(frozen=True, slots=True)
class SourceLine:
    """A line of the user's code."""

    file: str
    """Path of the file, as Python's tracebacks show it."""
    number: int
    """The number of the line, from 1."""
    code: str
    """The text of the line, without its indentation."""

    @property
    def place(self) -> str:
        """File name and line number: `model.py:41`."""
        return f"{Path(self.file).name}:{self.number}"

    def __str__(self) -> str:
        """Return `model.py:41: …` with the code in backquotes."""
        return f"{self.place}: `{self.code}`"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the wafer does not carry out a call; equal for equal causes, so that they can be counted.

    Both parts quote the user's text: never read them as markup.
    """

    reason: str
    """A clause without the line: `sin is not supported on the wafer`."""
    place: SourceLine | None = None
    """The user's line that the wafer cannot do; None: the reason holds for the call as a whole."""

    def __str__(self) -> str:
        """Return the line, if it is known, and the reason."""
        return self.reason if self.place is None else f"{self.place}: {self.reason}"


class UnsupportedOperationError(OnewaferError):
    """The wafer cannot do an operation; the caller may run it on the host."""

    def __init__(
        self, reason: str, place: SourceLine | None = None, *, remedy: str | None = None
    ) -> None:
        """Take the reason, the line, and a remedy among the options of `onewafer run`."""
        self.refusal = Refusal(reason if remedy is None else f"{reason}; {remedy}", place)
        self.cause = reason
        """The reason without the remedy: for callers whose options are others."""
        self.result: str | None = None
        """The name of the graph's result that the wafer cannot compute; None: not known."""
        super().__init__(str(self.refusal))

    def __str__(self) -> str:
        """Return the line and the reason; the name of the result where no line is known."""
        is_named = self.result is not None and self.refusal.place is None
        return f"{self.refusal} (result {self.result!r})" if is_named else str(self.refusal)

    def again(self) -> Self:
        """Return a copy to raise again, when the same call is refused a second time."""
        error = type(self)(self.refusal.reason, self.refusal.place)
        error.result, error.cause = self.result, self.cause
        return error


class TooLargeError(UnsupportedOperationError):
    """A model needs more memory than its PEs have; the reason says how many bytes."""


class InternalError(OnewaferError):
    """A bug of onewafer itself."""

    exit_code = 70

    def __init__(self, what: str) -> None:
        super().__init__(
            f"internal error: {what}\n"
            f"  onewafer on Python {sys.version.split()[0]}, {platform.platform()}\n"
            "  this is a bug of onewafer: please report it with the command and the input"
        )

    def _render_traceback_(self) -> list[str]:
        """Return the whole traceback, with our frames: they say where the bug is."""
        from onewafer.process.tracebacks import render_whole  # noqa: PLC0415  # only IPython asks

        return render_whole(self)


def describe_end(error: BaseException) -> str:
    """Return what ended a user's code early, in the user's words instead of our class names.

    >>> describe_end(StrictError("…")), describe_end(HostError("…")), describe_end(KeyError("a"))
    ('option strict', 'an error of onewafer', 'KeyError')
    """
    match error:
        case KeyboardInterrupt():
            return "Ctrl-C"
        case StrictError():
            return "option strict"
        case OnewaferError():
            return "an error of onewafer"
        case _:
            return type(error).__name__
