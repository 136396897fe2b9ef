"""Values with a display of their own in `print`, at IPython's prompt and in notebooks.

All three show the result of `__rich__`: texts and tables. Its text is data: markup in it means
nothing, HTML in it is escaped, and control characters are written as escapes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

SHOWN_COLUMNS = 120
"""The width of the output where there is no terminal."""


class Shown(ABC):
    """Base of values with a display of their own."""

    __slots__ = ()

    @abstractmethod
    def __rich__(self) -> RenderableType:
        """Return the texts and tables that a Rich console prints."""

    def in_notebook(self) -> RenderableType:
        """Return the texts and tables for a notebook, which has room for more than a terminal."""
        return self.__rich__()

    def __str__(self) -> str:
        """Return the text of a terminal, without colors."""
        from onewafer.terminal.console import to_text  # noqa: PLC0415  # what is shown needs it

        return to_text(self.__rich__(), SHOWN_COLUMNS).removesuffix("\n")

    def _repr_html_(self) -> str:
        """Return the HTML for a notebook."""
        from onewafer.terminal.html import to_html  # noqa: PLC0415  # likewise

        return to_html(self.in_notebook())

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        """Return text and HTML for IPython, which would show the long `__repr__` otherwise."""
        return {"text/plain": str(self), "text/html": self._repr_html_()}
