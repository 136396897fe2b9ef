"""Errors under a user's script, without our own frames: the script's frames and one message.

What our code called and caught on the way (NumPy, a file that is missing) is ours too.
"""

from __future__ import annotations

import sys
from traceback import TracebackException
from typing import TYPE_CHECKING

from onewafer.errors import InternalError, OnewaferError
from onewafer.host.runs.interruption import Interruption
from onewafer.process.tracebacks import drop_own_frames

if TYPE_CHECKING:
    from types import TracebackType


def install_short_tracebacks() -> None:
    """Shorten the tracebacks of our uncaught errors, unless another hook shows errors already."""
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = show_error


def show_error(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """Print an uncaught error as Python does; one of ours, or a Ctrl-C, without our frames.

    A Ctrl-C that stopped a simulation is one sentence. Python ends by the signal then.
    """
    place = Interruption.of(error)
    match error:
        case _ if place is not None:
            sys.stderr.write(f"\n{place}\n")
        case InternalError():
            sys.__excepthook__(kind, error, traceback)
        case OnewaferError() | KeyboardInterrupt():
            shown = TracebackException(kind, error, traceback)
            drop_own_frames(shown)
            sys.stderr.write("".join(shown.format()))
        case _:
            sys.__excepthook__(kind, error, traceback)
