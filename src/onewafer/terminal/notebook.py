"""A line in the output of a notebook's cell that is updated in place, for progress."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Protocol, cast

from onewafer.terminal.user_text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Shell(Protocol):
    """The attributes of an IPython shell that are used here."""

    execution_count: int
    display_pub: _Publisher


class _Publisher(Protocol):
    """The publisher of output to the running cell."""

    def publish(
        self, data: Mapping[str, str], *, transient: Mapping[str, str], update: bool
    ) -> None: ...


def find_notebook() -> _Shell | None:
    """Return the IPython shell if this process is a notebook's kernel, else None.

    IPython in a terminal is no notebook: progress is a line of the terminal there.
    """
    ipython: Any = sys.modules.get("IPython")  # imported already if this is a notebook
    shell = None if ipython is None else ipython.get_ipython()
    return cast("_Shell", shell) if hasattr(shell, "kernel") else None


class NotebookLine:
    """One line in the output of the running cell; cleared when the work is done."""

    def __init__(self, shell: _Shell) -> None:
        self._shell = shell
        self._cell: int | None = None
        """The execution count of the cell that has the line."""
        self._is_empty = True

    def show(self, text: str) -> None:
        """Replace the text of the line; in another cell than the last one, begin a new line."""
        is_new = self._cell != self._shell.execution_count
        self._cell = self._shell.execution_count
        self._is_empty = False
        self._publish(text, is_new=is_new)

    def clear(self) -> None:
        """Empty the line."""
        if not self._is_empty and self._cell == self._shell.execution_count:
            self._is_empty = True
            self._publish("", is_new=False)

    def _publish(self, text: str, *, is_new: bool) -> None:
        name = f"onewafer-{id(self)}-{self._cell}"
        self._shell.display_pub.publish(
            {"text/plain": printable(text)}, transient={"display_id": name}, update=not is_new
        )
