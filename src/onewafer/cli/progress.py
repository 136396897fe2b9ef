"""What a command is doing, and how much of it is done: a bar on stderr, if somebody watches."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

    from rich.progress import Progress, TaskID


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


@contextmanager
def progress_bar() -> Generator[ProgressBar]:
    """Yield a bar that is gone at the end; one that shows nothing if stderr is no terminal."""
    from rich.console import Console  # noqa: PLC0415  # when it is used

    console = Console(stderr=True)
    if not console.is_terminal:
        yield ProgressBar()
        return
    from rich.progress import (  # noqa: PLC0415  # likewise
        BarColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (
        SpinnerColumn("line"),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield ProgressBar(progress)
