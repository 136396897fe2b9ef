"""Ctrl-C and SIGTERM: a run stops between two slices, reports its place, writes a checkpoint."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager
from functools import cache, partial
from typing import TYPE_CHECKING

from onewafer.errors import OnewaferError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from pathlib import Path
    from types import FrameType, TracebackType
    from typing import Self

    from onewafer.simulator import Machine

    Handler = Callable[[int, FrameType | None], object] | int | None

_TERMINATED = 128 + signal.SIGTERM
"""Exit code after SIGTERM, as shells give it."""


class Terminated(SystemExit):
    """A SIGTERM as an exception; its exit code is that of shells."""

    def __init__(self) -> None:
        super().__init__(_TERMINATED)


def _terminate(number: int, frame: FrameType | None) -> None:
    """Raise an exception for SIGTERM; the next one ends the process at once."""
    del frame
    signal.signal(number, signal.SIG_DFL)
    raise Terminated


_USUAL: dict[int, tuple[Handler, ...]] = {
    signal.SIGINT: (signal.default_int_handler,),
    signal.SIGTERM: (signal.SIG_DFL, _terminate),
}
"""The default handlers, which a run replaces in order to stop between two slices."""


_OTHERS = tuple(
    getattr(signal, name)
    for name in ("SIGHUP", "SIGQUIT", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
)
"""Further signals whose handlers in scripts often raise an exception, such as a timeout."""


_handler_of: Callable[[int], Handler] = vars(signal)["_signal"].getsignal
"""`signal.getsignal` without its slow conversion to enums: each launch calls it many times."""


def scripts_handler(number: int) -> Callable[[int, FrameType | None], object] | None:
    """Return the script's own handler of a signal; None: it has none."""
    handler = _handler_of(number)
    return handler if callable(handler) and handler not in _USUAL.get(number, ()) else None


class Interruption(str):
    """A sentence about an interrupted run, the argument of a `KeyboardInterrupt`.

    It is no subclass of it: only after a plain `KeyboardInterrupt` Python ends by the signal.
    """

    __slots__ = ()

    @staticmethod
    def of(error: BaseException) -> Interruption | None:
        """Return the sentence of an error; None: it did not interrupt a run."""
        match error:
            case KeyboardInterrupt(args=(Interruption() as place,)):
                return place
            case _:
                return None


class StopRequest:
    """Turns the first Ctrl-C or SIGTERM into a request that a run checks between two slices.

    A second one has its usual effect at once. Handlers of the script are called between two
    slices, too, so that they may raise any exception. Python handles signals in its main thread
    only, so a run in another thread changes no handler.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        """The signal that was received; None: none."""
        self._replaced: dict[int, tuple[Handler, Handler]] = {}
        """Signal number → the original handler, and ours."""
        self._due: list[tuple[Callable[[int, FrameType | None], object], int]] = []
        """Handlers of the script to call, each with the number of its signal."""

    def __enter__(self) -> Self:
        """Install the handlers."""
        if threading.current_thread() is threading.main_thread():
            for number in (*_USUAL, *_OTHERS):
                own = scripts_handler(number)
                if own is not None:
                    self._replace(number, own, partial(self._delay, own))
                elif (handler := signal.getsignal(number)) in _USUAL.get(number, ()):
                    self._replace(number, handler, self._note)
        return self

    def _replace(self, number: int, before: Handler, ours: Handler) -> None:
        self._replaced[number] = before, ours
        signal.signal(number, ours)

    def deliver(self) -> None:
        """Call the script's handlers of received signals; raise what they raise."""
        while self._due:
            handler, number = self._due.pop(0)
            handler(number, sys._getframe())  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # what handlers get

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Restore the handlers, and deliver the signals that are left."""
        self._restore([*self._replaced])
        self.deliver()

    def _delay(
        self,
        handler: Callable[[int, FrameType | None], object],
        number: int,
        frame: FrameType | None,
    ) -> None:
        del frame
        self._due.append((handler, number))

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.signal = number
        self._restore(_USUAL)

    def _restore(self, numbers: Iterable[int]) -> None:
        """Restore the original handlers, except where the script has set another one since."""
        for number in numbers:
            before, ours = self._replaced.pop(number, (None, None))
            if ours is not None and signal.getsignal(number) == ours:
                signal.signal(number, before)


def interruption(request: StopRequest, sentence: str = "") -> BaseException:
    """Return the exception for a signal, so that a script ends as it would have without us.

    For Ctrl-C a `KeyboardInterrupt` with the sentence; for SIGTERM a `SystemExit` with the exit
    code of shells, after printing the sentence to stderr. Without a sentence the run is complete.
    """
    if request.signal != signal.SIGTERM:
        if not sentence:
            return KeyboardInterrupt()
        error = KeyboardInterrupt(Interruption(sentence))
        vars(error)["_render_traceback_"] = lambda: [sentence]  # the output in a notebook
        return error
    sys.stderr.write(f"{sentence}\n" if sentence else "")
    return Terminated()


@contextmanager
def ended_by_exceptions() -> Generator[None]:
    """Let SIGTERM raise an exception in the block, as Ctrl-C does, so that `finally` runs.

    Has no effect if SIGTERM has a handler already, nor in processes forked inside the block.
    """
    is_usual = signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if not is_usual or threading.current_thread() is not threading.main_thread():
        yield
        return
    _spare_forked_processes()
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        _restore_default()


@cache  # once: Python has no way to unregister it
def _spare_forked_processes() -> None:
    os.register_at_fork(after_in_child=_restore_default)


def _restore_default() -> None:
    if signal.getsignal(signal.SIGTERM) is _terminate:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def leave_checkpoint(machine: Machine, what: str, folder: Path | None) -> str:
    """Write a checkpoint into a folder; return a sentence for the user about it."""
    if folder is None:
        return "no checkpoint was written: no folder is set (ONEWAFER_CHECKPOINT_DIR, RunLimits)"
    path = _free_path(folder, machine.cycle)
    try:
        with ended_by_exceptions():
            machine.save_checkpoint(path, what=what)
    except (OSError, OnewaferError) as error:
        return f"no checkpoint was written: {error}"
    return f"`onewafer resume {path}` goes on from there"


def _free_path(folder: Path, cycle: int) -> Path:
    """Return a path that does not exist yet: checkpoints are not overwritten."""
    path = folder / f"cycle-{cycle}.checkpoint"
    number = 2
    while path.exists():
        path = folder / f"cycle-{cycle}-{number}.checkpoint"
        number += 1
    return path
