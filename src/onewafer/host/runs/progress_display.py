"""Progress of long runs: a line updated in place on a terminal, or a log line now and then.

A short run shows nothing.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from onewafer.host.runs.progress import RunObserver
from onewafer.terminal import (
    NotebookLine,
    find_notebook,
    printable,
    progress_line,
    text_column,
)
from onewafer.units import format_count, format_duration

if TYPE_CHECKING:
    from rich.progress import Progress  # noqa: TID251  # a type

    from onewafer.host.runs.progress import RunProgress
    from onewafer.settings import Settings

_TERMINAL_SECONDS = 0.5
_LOG_SECONDS = 10.0


def choose_observer(settings: Settings) -> RunObserver:
    """Return the observer for this terminal, log or notebook; if progress is off, warnings only."""
    if not settings.shows_progress:
        return WarningsOnly()
    if (shell := find_notebook()) is not None:
        return CellLine(NotebookLine(shell))
    return StatusLine() if sys.stderr.isatty() else LogLines()


def describe_progress(progress: RunProgress) -> str:
    """Return the figures of a progress line.

    >>> from onewafer.host.runs.progress import RunProgress
    >>> describe_progress(RunProgress("the launch of 'f'", 1234567, 1234000, 64, 2.5e6, 83.2, ""))
    'cycle 1,234,567 · 64 active PEs · 2.5 M wavelets/s · 1:23 min'
    """
    pes = "1 active PE" if progress.active_pes == 1 else f"{progress.active_pes:,} active PEs"
    return (
        f"cycle {progress.cycle:,} · {pes} · "
        f"{format_count(progress.wavelets_per_second)} wavelets/s · "
        f"{format_duration(progress.elapsed_seconds)}"
    )


class WarningsOnly(RunObserver):
    """Prints messages, and no progress."""

    def say(self, line: str) -> None:
        sys.stderr.write(f"onewafer: {printable(line)}\n")
        sys.stderr.flush()


class LogLines(WarningsOnly):
    """A line every ten seconds, for logs."""

    interval_seconds = _LOG_SECONDS

    def show(self, progress: RunProgress) -> None:
        self.say(f"{progress.what}: {describe_progress(progress)} ({progress.activity})")


class StatusLine(WarningsOnly):
    """One line on a terminal, updated in place and erased at the end of the run."""

    interval_seconds = _TERMINAL_SECONDS

    def __init__(self) -> None:
        self._line: Progress | None = None

    def say(self, line: str) -> None:
        self.done()
        super().say(line)

    def show(self, progress: RunProgress) -> None:
        text = f"{progress.what}: {describe_progress(progress)} (Ctrl-C stops)"
        if self._line is None:
            from onewafer.terminal import PlainConsole  # noqa: PLC0415  # not for short runs

            console = PlainConsole(stderr=True)
            self._line = progress_line(console, text_column("{task.description}"))
            self._line.add_task(text)
            self._line.start()
        self._line.update(self._line.task_ids[0], description=text)

    def done(self) -> None:
        if self._line is not None:
            self._line.stop()
            self._line = None


class CellLine(WarningsOnly):
    """One line in the output of a notebook's cell, updated in place."""

    interval_seconds = _TERMINAL_SECONDS

    def __init__(self, line: NotebookLine, what: str | None = None) -> None:
        """Take a line; `what` replaces the name of the run."""
        self._line = line
        self._what = what

    def show(self, progress: RunProgress) -> None:
        what = self._what or progress.what
        self._line.show(f"{what}: {describe_progress(progress)} (interrupt to stop)")

    def done(self) -> None:
        self._line.clear()
