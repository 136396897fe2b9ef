"""Progress of commands: a line on stderr that is updated in place.

Where stderr is no terminal, the progress of counted steps is logged, a line now and then. Rich is
loaded only for a line on a terminal.
"""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from time import perf_counter  # affects only what is displayed
from typing import TYPE_CHECKING

from onewafer.terminal.notebook import NotebookLine, find_notebook
from onewafer.terminal.user_text import printable
from onewafer.units import format_duration, format_rate

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from rich.progress import Progress, ProgressColumn, TaskID

    from onewafer.terminal.console import PlainConsole

_LOG_SECONDS = 10.0
_LOG_SHARE = 0.2
"""Time to the next line, as a share of the time so far: a log of a day has some forty lines."""


class ProgressBar:
    """A line with a bar, without a length until the number of steps is known."""

    def __init__(self, progress: Progress | None = None) -> None:
        self._progress = progress
        self._task: TaskID | None = None if progress is None else progress.add_task("", total=None)

    def say(self, text: str) -> None:
        """Show a text as the current activity."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, description=text)

    def show(self, done: int, total: int) -> None:
        """Show how many steps are done, and how many there are."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, total=total)


class CellBar(ProgressBar):
    """Progress in a notebook: text and steps in a line of the running cell."""

    def __init__(self, line: NotebookLine) -> None:
        super().__init__()
        self._line = line
        self._text = self._steps = ""

    def say(self, text: str) -> None:
        """Show a text as the current activity."""
        self._text = text
        self._line.show(f"{self._text}{self._steps}")

    def show(self, done: int, total: int) -> None:
        """Show how many steps are done, and how many there are."""
        self._steps = f" ({done} of {total} done)"


class LogLines(ProgressBar):
    """Progress in a log: a line after ten seconds, and then at growing intervals."""

    def __init__(self, noun: str, clock: Callable[[], float] = perf_counter) -> None:
        """Take the noun of the steps, in the plural, and a clock in seconds."""
        super().__init__()
        self._noun, self._clock = noun, clock
        self._started = clock()
        self._text, self._done, self._total = "", 0, 0
        self._is_over = threading.Event()

    def say(self, text: str) -> None:
        """Show a text as the current activity."""
        self._text = text

    def show(self, done: int, total: int) -> None:
        """Note how many steps are done, and how many there are."""
        self._done, self._total = done, total

    def line(self) -> str:
        """Return the line: steps done, their rate, and the estimated time left."""
        elapsed = self._clock() - self._started
        line = f"{self._text}: {self._done:,} of {self._total:,} {self._noun}"
        if self._done and elapsed > 0:
            left = elapsed * (self._total / self._done - 1)
            rate = format_rate(self._done / elapsed)
            line += f", {rate} {self._noun}/s, about {format_duration(left)} left"
        return f"{line} ({format_duration(elapsed)} so far)"

    def seconds_to_next(self) -> float:
        """Return the time to wait before the next line."""
        return max(_LOG_SECONDS, _LOG_SHARE * (self._clock() - self._started))

    @contextmanager
    def written(self) -> Generator[None]:
        """Write lines in a thread while the block runs, also during a long step."""
        writer = threading.Thread(target=self._write, daemon=True)
        writer.start()
        try:
            yield
        finally:
            self._is_over.set()
            writer.join()

    def _write(self) -> None:
        while not self._is_over.wait(self.seconds_to_next()):
            if self._done < self._total:
                sys.stderr.write(f"onewafer: {printable(self.line())}\n")
                sys.stderr.flush()


@contextmanager
def progress_bar(*, is_shown: bool = True, noun: str | None = None) -> Generator[ProgressBar]:
    """Yield a bar that disappears at the end of the block.

    With the noun of its steps it shows how many are done, their rate, and the time left; if stderr
    is no terminal, in lines of a log. Without a noun, nothing is shown there.
    """
    if not is_shown:
        yield ProgressBar()
        return
    if (shell := find_notebook()) is not None:
        line = NotebookLine(shell)
        try:
            yield CellBar(line)
        finally:
            line.clear()
        return
    from onewafer.terminal.console import PlainConsole  # noqa: PLC0415  # as above

    console = PlainConsole(stderr=True)
    if not console.is_watched:
        if noun is None:
            yield ProgressBar()
            return
        log = LogLines(noun)
        with log.written():
            yield log
        return
    from rich.progress import BarColumn, TimeElapsedColumn  # noqa: PLC0415  # as above

    columns = (text_column("{task.description}"), BarColumn(), TimeElapsedColumn())
    if noun is not None:
        columns = _counting_columns(noun)
    with progress_line(console, *columns) as progress:
        yield ProgressBar(progress)


def _counting_columns(noun: str) -> tuple[ProgressColumn, ...]:
    from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn  # noqa: PLC0415  # as above

    from onewafer.terminal.console import RateColumn  # noqa: PLC0415  # likewise

    text = text_column("{task.description}")
    left = TimeRemainingColumn(elapsed_when_finished=True)
    return text, BarColumn(), MofNCompleteColumn(), RateColumn(noun), left


def progress_line(console: PlainConsole, *columns: ProgressColumn) -> Progress:
    """Return a line with a spinner and columns, which disappears at its end.

    It is disabled if the console is no terminal. It does not redirect stdout or stderr.
    """
    from rich.progress import Progress, SpinnerColumn  # noqa: PLC0415  # as above

    return Progress(
        SpinnerColumn("line"),
        *columns,
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        disable=not console.is_watched,
    )


def text_column(form: str) -> ProgressColumn:
    """Return a column of text; `form` is a format string over `task`."""
    from onewafer.terminal.console import PlainTextColumn  # noqa: PLC0415  # as above

    return PlainTextColumn(form)
