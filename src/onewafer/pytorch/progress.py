"""A line on the terminal while a program is compiled or a launch is simulated."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from rich.console import Console
    from rich.progress import ProgressColumn


class ProgressLine:
    """Show what the wafer is doing; the line is gone when it is done.

    Nothing is shown where the console is not a terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def compiling(self, what: str) -> Generator[None]:
        """Show that a program is being compiled."""
        with self._line() as line:
            line.add_task(f"compiling {what}", total=None)
            yield

    @contextmanager
    def simulating(self, what: str, expected_cycles: int) -> Generator[Callable[[int], None]]:
        """Show a launch; the value takes the cycles simulated so far."""
        with self._line(BarColumn(), TextColumn("{task.completed:,} cycles")) as line:
            task = line.add_task(f"simulating {what}", total=expected_cycles)
            yield lambda cycles: line.update(task, completed=cycles)

    def _line(self, *columns: ProgressColumn) -> Progress:
        # The script's own output must pass through untouched, so nothing is redirected.
        return Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            *columns,
            console=self._console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not self._console.is_terminal,
        )
