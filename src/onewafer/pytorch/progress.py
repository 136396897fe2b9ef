"""A line on the terminal while a program is compiled or a launch is simulated."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.live import Live
from rich.spinner import Spinner

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from rich.console import Console


class ProgressLine:
    """Show what the wafer is doing; the line is gone when it is done.

    Nothing is shown where the console is not a terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def compiling(self, what: str) -> Generator[None]:
        """Show that a program is being compiled."""
        with self._line(f"compiling {what}"):
            yield

    @contextmanager
    def simulating(self, what: str) -> Generator[Callable[[int], None]]:
        """Show a launch; the value takes the current cycle."""
        with self._line(f"simulating {what}") as show:
            yield lambda cycle: show(f"simulating {what}: cycle {cycle:,}")

    @contextmanager
    def _line(self, text: str) -> Generator[Callable[[str], None]]:
        spinner = Spinner("dots", text)
        # The script's own output must pass through untouched, so nothing is redirected.
        with Live(
            spinner,
            console=self._console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        ):
            yield lambda changed: spinner.update(text=changed)
