"""What a command is doing, and how much of it is done: a line on stderr, if it is a terminal.

Rich is loaded when there is a line to show.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from onewafer.terminal.notebook import NotebookLine, find_notebook

if TYPE_CHECKING:
    from collections.abc import Generator

    from rich.progress import Progress, ProgressColumn, TaskID

    from onewafer.terminal.console import PlainConsole


class ProgressBar:
    """A line with a bar; it only moves until it is known how many steps there are."""

    def __init__(self, progress: Progress | None = None) -> None:
        self._progress = progress
        self._task: TaskID | None = None if progress is None else progress.add_task("", total=None)

    def say(self, text: str) -> None:
        """Say what is being done."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, description=text)

    def show(self, done: int, total: int) -> None:
        """Show how many steps are done, and how many there are."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, total=total)


class CellBar(ProgressBar):
    """The same in a notebook: text and steps in a line of the cell that runs."""

    def __init__(self, line: NotebookLine) -> None:
        super().__init__()
        self._line = line
        self._text = self._steps = ""

    def say(self, text: str) -> None:
        """Say what is being done."""
        self._text = text
        self._line.show(f"{self._text}{self._steps}")

    def show(self, done: int, total: int) -> None:
        """Show how many steps are done, and how many there are."""
        self._steps = f" ({done} of {total} done)"


@contextmanager
def progress_bar(*, is_shown: bool = True, noun: str | None = None) -> Generator[ProgressBar]:
    """Yield a bar that is gone at the end; one that shows nothing if stderr is no terminal.

    With the noun of its steps it shows how many are done, how many a second, and the time left.
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
        yield ProgressBar()
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
    """Return a line with a spinner and columns, gone at its end; nothing if there is no terminal.

    What others print passes untouched.
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
    """Return a column of text; `form` has the fields of a task in braces."""
    from onewafer.terminal.console import PlainTextColumn  # noqa: PLC0415  # as above

    return PlainTextColumn(form)
