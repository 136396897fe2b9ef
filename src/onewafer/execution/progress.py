"""A line on the terminal, or in a notebook, while a program is compiled or a launch simulated."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from rich.progress import BarColumn

from onewafer.host import CellLine, RunObserver, describe_progress
from onewafer.terminal import StandingLine, progress_line, text_column

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from rich.progress import Progress, ProgressColumn, TaskID  # noqa: TID251  # types

    from onewafer.host import RunProgress
    from onewafer.terminal import NotebookLine, PlainConsole


_INTERVAL_SECONDS = 0.25


class ProgressLine:
    """Show the work in progress in a line, which is removed at the end.

    Nothing is shown where the console is not a terminal.
    """

    def __init__(self, console: PlainConsole) -> None:
        self._console = console
        self._standing = StandingLine()

    @contextmanager
    def beside_script(self) -> Generator[None]:
        """Keep the line of a training loop below the output of the script."""
        with self._standing.below() if self._console.is_watched else nullcontext():
            yield

    def training(self, say: Callable[[], str]) -> None:
        """Show how far a training loop is."""
        self._standing.show(say)

    @property
    def sentences(self) -> RunObserver:
        """The printer for messages while a line may be on the terminal."""
        return _Sentences(self._console)

    @contextmanager
    def compiling(self, what: str) -> Generator[None]:
        """Show that a program is being compiled."""
        with self._standing.giving_way(), self._line() as line:
            line.add_task(f"compiling {what}", total=None)
            yield

    @contextmanager
    def simulating(self, what: str, expected_cycles: int) -> Generator[RunObserver]:
        """Show a launch; the value watches it."""
        columns = BarColumn(), text_column("{task.fields[figures]}")
        with self._standing.giving_way(), self._line(*columns) as line:
            task = line.add_task(f"simulating {what}", total=expected_cycles, figures="")
            yield _Launch(self._console, line, task)

    def _line(self, *columns: ProgressColumn) -> Progress:
        return progress_line(self._console, text_column("{task.description}"), *columns)


class NotebookProgress:
    """Show the work in progress in the running cell, in a line that is empty at the end."""

    def __init__(self, line: NotebookLine) -> None:
        self._line = line

    @contextmanager
    def compiling(self, what: str) -> Generator[None]:
        """Show that a program is being compiled."""
        self._line.show(f"compiling {what}")
        try:
            yield
        finally:
            self._line.clear()

    @contextmanager
    def simulating(self, what: str, expected_cycles: int) -> Generator[RunObserver]:
        """Show a launch that takes long; the value watches it."""
        del expected_cycles  # a bar would be drawn with them
        yield CellLine(self._line, f"simulating {what}")

    def training(self, say: Callable[[], str]) -> None:
        """Show nothing, since later output of the cell would stay above the line."""
        del say


class _Sentences(RunObserver):
    """Prints sentences above the line."""

    def __init__(self, console: PlainConsole) -> None:
        self._console = console

    def say(self, line: str) -> None:
        self._console.print(f"onewafer: {line}")


class _Launch(_Sentences):
    """Renews the line of one launch."""

    interval_seconds = _INTERVAL_SECONDS

    def __init__(self, console: PlainConsole, line: Progress, task: TaskID) -> None:
        super().__init__(console)
        self._line = line
        self._task = task

    def show(self, progress: RunProgress) -> None:
        figures = describe_progress(progress)
        self._line.update(self._task, completed=progress.passed_cycles, figures=figures)
