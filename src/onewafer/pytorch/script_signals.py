"""The script's own signal handlers, while the wafer works on one of its calls.

What such a handler raises is the script's: nothing on the way may take it for an error of a module,
of a capture or of ours, and try something else.
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.host import scripts_handler

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import FrameType

    Handler = Callable[[int, FrameType | None], object]


class _RaisedInHandlerError(BaseException):
    """Carries what a handler raised past everything that handles exceptions."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


@dataclass(frozen=True, slots=True)
class _Carried:
    """A handler whose exceptions are carried."""

    handler: Handler

    def __call__(self, number: int, frame: FrameType | None) -> None:
        try:
            self.handler(number, frame)
        except BaseException as error:  # noqa: BLE001  # raised again when our code is left
            raise _RaisedInHandlerError(error) from None


@contextmanager
def carrying_exceptions_of_handlers() -> Generator[None]:
    """Raise at the end what the script's signal handlers raised inside, whatever was in between."""
    if threading.current_thread() is not threading.main_thread():  # signals do not reach it
        yield
        return
    replaced = _replace_handlers()
    error: BaseException | None = None
    try:
        yield
    except _RaisedInHandlerError as carrier:
        error = carrier.error
    finally:
        for number, handler in replaced.items():
            if signal.getsignal(number) == _Carried(handler):  # else the script has set another
                signal.signal(number, handler)
    if error is not None:
        context = error.__context__
        try:
            raise error
        finally:
            error.__context__ = context  # Python has made it the carrier


def _replace_handlers() -> dict[int, Handler]:
    replaced: dict[int, Handler] = {}
    for number in range(1, signal.NSIG):
        handler = scripts_handler(number)
        if handler is not None and not isinstance(handler, _Carried):
            replaced[number] = handler
            signal.signal(number, _Carried(handler))
    return replaced
