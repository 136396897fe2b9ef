"""Ctrl-C and SIGTERM: a run stops between two slices, says where it was, leaves a checkpoint."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from onewafer.errors import OnewaferError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path
    from types import FrameType, TracebackType
    from typing import Self

    from onewafer.simulator import Machine

    Handler = Callable[[int, FrameType | None], object] | int | None

_USUAL: dict[int, Handler] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
}
"""Handlers that may be replaced for a while: who has set another one wants that one."""
_TERMINATED = 128 + signal.SIGTERM
"""Exit code after SIGTERM, as shells give it."""


class Interruption(str):
    """What a `KeyboardInterrupt` carries that stopped a run between two slices: where it was.

    The exception itself is no subclass: only after a plain one Python ends by the signal.
    """

    __slots__ = ()

    @staticmethod
    def of(error: BaseException) -> Interruption | None:
        """Return what an error carries; None if no run of ours was stopped."""
        match error:
            case KeyboardInterrupt(args=(Interruption() as place,)):
                return place
            case _:
                return None


class StopRequest:
    """Turns the first Ctrl-C or SIGTERM into a request that a run obeys between two slices.

    A second one acts at once, as it always did. Signals reach Python in its main thread only, so a
    run in another thread changes nothing.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        """The signal that asked to stop."""
        self._replaced: dict[int, Handler] = {}

    def __enter__(self) -> Self:
        """Listen."""
        if threading.current_thread() is threading.main_thread():
            for number, usual in _USUAL.items():
                if signal.getsignal(number) == usual:
                    self._replaced[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Listen no more."""
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.signal = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._replaced.items():
            signal.signal(number, handler)
        self._replaced.clear()


def interruption(request: StopRequest, sentence: str) -> BaseException:
    """Return what to raise for a signal: a script ends as it would have without us.

    A Ctrl-C is a `KeyboardInterrupt` with the sentence; SIGTERM, which Python has no exception
    for, an exit with the code that a shell gives it, after the sentence on stderr.
    """
    if request.signal != signal.SIGTERM:
        return KeyboardInterrupt(Interruption(sentence))
    sys.stderr.write(f"{sentence}\n")
    return SystemExit(_TERMINATED)


@contextmanager
def _ended_by_exceptions() -> Generator[None]:
    """Let SIGTERM be an exception, as Ctrl-C is, so that no file stays that is half-written."""
    is_usual = signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if not is_usual or threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise SystemExit(_TERMINATED)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def leave_checkpoint(machine: Machine, what: str, folder: Path | None) -> str:
    """Write a checkpoint into a folder; return what to tell the user about it."""
    if folder is None:
        return "no checkpoint was written: no folder is set (ONEWAFER_CHECKPOINT_DIR, RunLimits)"
    path = _free_path(folder, machine.cycle)
    try:
        with _ended_by_exceptions():
            machine.save_checkpoint(path, what=what)
    except (OSError, OnewaferError) as error:
        return f"no checkpoint was written: {error}"
    return f"`onewafer resume {path}` goes on from there"


def _free_path(folder: Path, cycle: int) -> Path:
    """Return a path that is not taken: existing checkpoints are not overwritten."""
    path = folder / f"cycle-{cycle}.checkpoint"
    number = 2
    while path.exists():
        path = folder / f"cycle-{cycle}-{number}.checkpoint"
        number += 1
    return path
