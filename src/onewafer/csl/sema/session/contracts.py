"""Interfaces between stages of the analysis that would else import each other."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from onewafer.diagnostics import Span
    from onewafer.image import Export


class Where(Enum):
    """The contexts in which a builtin may be used."""

    VALUE = "anywhere"
    LAYOUT = "in the `layout` block and the functions it calls"
    PROGRAM = "in a `comptime` block of a PE program"
    RUNTIME = "in functions and tasks of a PE program"


class Layout(Protocol):
    """The layout program, as the programs of its PEs know it."""

    width: int
    height: int
    exports: dict[str, Export]
    export_spans: dict[str, Span]

    @property
    def has_rectangle(self) -> bool:
        """True if the size of the program is known."""
        ...
