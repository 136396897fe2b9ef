"""A line in the output of a notebook cell that renews itself, as a progress line of a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Protocol, cast

from onewafer.terminal.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Shell(Protocol):
    """The part of an IPython shell that is used here."""

    execution_count: int
    display_pub: _Publisher


class _Publisher(Protocol):
    """The function that sends output to the cell that runs."""

    def publish(
        self, data: Mapping[str, str], *, transient: Mapping[str, str], update: bool
    ) -> None: ...


def find_notebook() -> _Shell | None:
    """Return the shell of the notebook that this process is the kernel of; None: there is none.

    IPython in a terminal is none: a line of the terminal is what is wanted there.
    """
    ipython: Any = sys.modules.get("IPython")  # whoever is in a notebook has imported it
    shell = None if ipython is None else ipython.get_ipython()
    return cast("_Shell", shell) if hasattr(shell, "kernel") else None


class NotebookLine:
    """One line in the output of the cell that runs; it is empty when the work is done."""

    def __init__(self, shell: _Shell) -> None:
        self._shell = shell
        self._cell: int | None = None
        """The cell that has the line, by its execution count."""
        self._is_empty = True

    def show(self, text: str) -> None:
        """Show a text in place of the last one, or in a new line of another cell."""
        is_new = self._cell != self._shell.execution_count
        self._cell = self._shell.execution_count
        self._is_empty = False
        self._publish(text, is_new=is_new)

    def clear(self) -> None:
        """Take the text away."""
        if not self._is_empty and self._cell == self._shell.execution_count:
            self._is_empty = True
            self._publish("", is_new=False)

    def _publish(self, text: str, *, is_new: bool) -> None:
        name = f"onewafer-{id(self)}-{self._cell}"
        self._shell.display_pub.publish(
            {"text/plain": printable(text)}, transient={"display_id": name}, update=not is_new
        )
