"""Who watches long work: the compilation of a program, the simulation of a launch."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from onewafer.host import RunObserver


class Observer(Protocol):
    """An observer of long work, for example a progress line."""

    def compiling(self, what: str) -> AbstractContextManager[object]:
        """Enter while a program is compiled."""
        ...

    def simulating(self, what: str, expected_cycles: int) -> AbstractContextManager[RunObserver]:
        """Enter while a launch runs; the value watches it."""
        ...


@dataclass(frozen=True, slots=True)
class Watch:
    """The observer of one program's long work, if there is one."""

    what: str = ""
    """The program's name in messages to the user."""
    observer: Observer | None = None

    def compiling(self) -> AbstractContextManager[object]:
        """Enter while the program is compiled."""
        return nullcontext() if self.observer is None else self.observer.compiling(self.what)

    def simulating(self, expected_cycles: int) -> AbstractContextManager[RunObserver | None]:
        """Enter while a launch runs; the value watches it."""
        if self.observer is None:
            return nullcontext()
        return self.observer.simulating(self.what, expected_cycles)


UNWATCHED = Watch()
