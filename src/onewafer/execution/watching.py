"""Observers of long work: the compilation of a program, the simulation of a launch."""

from __future__ import annotations

import threading
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
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

    def training(self, say: Callable[[], str]) -> None:
        """Show the progress of a training loop; `say` is called only if it is time to show it."""
        ...


_LONG_WORK = threading.RLock()
"""One thread compiles or simulates at a time: they would share the cores and the progress line."""


@dataclass(frozen=True, slots=True)
class Watch:
    """The observer of one program's long work, if there is one."""

    what: str = ""
    """The program's name in messages to the user."""
    observer: Observer | None = None

    def at(self, stage: str) -> Watch:
        """Return a watch that also shows the stage of the program's work."""
        return replace(self, what=f"{self.what}, {stage}") if stage else self

    def training(self, say: Callable[[], str]) -> None:
        """Show the progress of the program's training loop, if it is time to."""
        if self.observer is not None:
            self.observer.training(lambda: f"{self.what}, {say()}")

    @contextmanager
    def compiling(self) -> Generator[None]:
        """Enter while the program is compiled."""
        observer = self.observer
        with _LONG_WORK, observer.compiling(self.what) if observer else nullcontext():
            yield

    @contextmanager
    def simulating(self, expected_cycles: int) -> Generator[RunObserver | None]:
        """Enter while a launch runs; the value watches it."""
        observer = self.observer
        with (
            _LONG_WORK,
            observer.simulating(self.what, expected_cycles) if observer else nullcontext() as run,
        ):
            yield run


UNWATCHED = Watch()
