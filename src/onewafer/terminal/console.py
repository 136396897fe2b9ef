"""The console of all commands: printed text is data, never markup.

Rich takes `[/docs]` for a style, `:100:` for an emoji, and passes escape sequences on. Here
strings, cells of tables and titles come from users' files, names and source lines, so all of that
is switched off. Colors come from styles, which are arguments beside a text and not part of it.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import ProgressColumn, TextColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from onewafer.terminal.user_text import printable
from onewafer.units import format_rate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import ConsoleOptions, RenderableType
    from rich.progress import Task


class PlainConsole(Console):
    """A Rich console that prints every text literally."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401  # those of Rich
        """Take the options of a Rich console, except markup, emoji and highlight."""
        super().__init__(markup=False, emoji=False, highlight=False, **options)
        self._is_forced: bool | None = options.get("force_terminal")

    @property
    def is_watched(self) -> bool:
        """True if the output is a terminal, on which a line can be overwritten.

        `is_terminal` is about colors: `FORCE_COLOR` makes it true for a file and for a pipe, as in
        the commands that a cell of a notebook runs.
        """
        return self.file.isatty() if self._is_forced is None else self._is_forced

    def render_str(self, text: str, **options: Any) -> Text:  # noqa: ANN401  # those of Rich
        """Return a string as Rich text, escaped before its width is measured."""
        return super().render_str(printable(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the segments of a renderable; `Text` objects are escaped, too."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control else Segment(printable(text), style)


class PlainTextColumn(TextColumn):
    """A column of a progress line that prints text literally."""

    def render(self, task: Task) -> Text:
        """Return the text of a task, escaped before its width is measured."""
        return Text(printable(self.text_format.format(task=task)), style=self.style)


class RateColumn(ProgressColumn):
    """A column of a progress line with the rate in steps per second."""

    def __init__(self, noun: str) -> None:
        """Take the noun of the steps, in the plural."""
        super().__init__()
        self._noun = noun

    def render(self, task: Task) -> Text:
        """Return the rate of a task; empty before the first step."""
        return Text("" if task.speed is None else f"{format_rate(task.speed)} {self._noun}/s")


def stdout_console(columns: int) -> PlainConsole:
    """Return a console on stdout: as wide as the terminal, or of `columns` if it is none."""
    console = PlainConsole()
    return console if console.is_watched else PlainConsole(width=columns)


def to_text(renderable: RenderableType, columns: int) -> str:
    """Return the text that a console of so many columns prints, without colors."""
    console = PlainConsole(file=io.StringIO(), width=columns, color_system=None)
    with console.capture() as capture:
        console.print(renderable)
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def labelled(label: str, text: str) -> Table:
    """Return a table with a label and, beside it, a text of any number of lines."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="cyan", no_wrap=True)
    grid.add_column()
    grid.add_row(label, Text(text))
    return grid
