"""Values that show themselves: `print`, the prompt of IPython and the output of a notebook cell.

All three show what `__rich__` returns: texts and tables. Its text is data: markup in it means
nothing, HTML in it is escaped, and control characters are written as escapes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

SHOWN_COLUMNS = 120
"""Width of what is shown where there is no terminal to fit it to."""


class Shown(ABC):
    """A value that shows itself."""

    __slots__ = ()

    @abstractmethod
    def __rich__(self) -> RenderableType:
        """Return what a Rich console prints of it."""

    def in_notebook(self) -> RenderableType:
        """Return what a notebook shows of it, where there is room for more than on a terminal."""
        return self.__rich__()

    def __str__(self) -> str:
        """Return it as on a terminal, without colors."""
        from onewafer.terminal.console import to_text  # noqa: PLC0415  # what is shown needs it

        return to_text(self.__rich__(), SHOWN_COLUMNS).removesuffix("\n")

    def _repr_html_(self) -> str:
        """Return it as notebooks show it: its tables are tables."""
        from onewafer.terminal.html import to_html  # noqa: PLC0415  # likewise

        return to_html(self.in_notebook())

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        """Return it as IPython shows it: `__repr__` is for programmers, and long."""
        return {"text/plain": str(self), "text/html": self._repr_html_()}
