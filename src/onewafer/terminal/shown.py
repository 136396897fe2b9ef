"""Values that show themselves: `print`, the prompt of IPython and the output of a notebook cell.

All three print what `__rich__` returns, which is written for a terminal. Its text is data: markup
in it means nothing, HTML in it is escaped, and control characters are written as escapes.
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

    from onewafer.terminal.console import PlainConsole

SHOWN_COLUMNS = 120
"""Width of what is shown where there is no terminal to fit it to."""
_PRE = (
    '<pre style="white-space:pre;overflow-x:auto;line-height:normal;'
    "font-family:Menlo,'DejaVu Sans Mono',consolas,'Courier New',monospace\">{code}</pre>"
)


class Shown(ABC):
    """A value that shows itself."""

    __slots__ = ()

    @abstractmethod
    def __rich__(self) -> RenderableType:
        """Return what a Rich console prints of it."""

    def __str__(self) -> str:
        """Return it as on a terminal, without colors."""
        console = _console(color_system=None)
        console.print(self.__rich__())
        lines = console.export_text().splitlines()
        return "\n".join(line.rstrip() for line in lines)

    def _repr_html_(self) -> str:
        """Return it as notebooks show it."""
        console = _console(color_system="truecolor")
        console.print(self.__rich__())
        return console.export_html(inline_styles=True, code_format=_PRE)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        """Return it as IPython shows it: `__repr__` is for programmers, and long."""
        return {"text/plain": str(self), "text/html": self._repr_html_()}


def _console(*, color_system: str | None) -> PlainConsole:
    from onewafer.terminal.console import PlainConsole  # noqa: PLC0415  # what is shown needs it

    return PlainConsole(
        file=io.StringIO(),
        record=True,
        width=SHOWN_COLUMNS,
        color_system="truecolor" if color_system else None,
        force_terminal=color_system is not None,
        force_jupyter=False,
        legacy_windows=False,
    )
