"""Uncaught errors of a user's script without our own frames: the script's frames, the message."""

from __future__ import annotations

import sys
from traceback import TracebackException, walk_tb
from typing import TYPE_CHECKING

from onewafer.errors import InternalError, OnewaferError
from onewafer.host.runs.interruption import Interruption
from onewafer.process.tracebacks import drop_own_frames
from onewafer.settings import wants_short_tracebacks

if TYPE_CHECKING:
    from types import TracebackType


def install_short_tracebacks() -> None:
    """Shorten the tracebacks of our uncaught errors, unless another hook is installed."""
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = show_error


def show_error(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """Print an uncaught error as Python does, but one of ours, or a Ctrl-C, without our frames.

    A Ctrl-C that stopped a simulation is one sentence.
    """
    place = Interruption.of(error)
    match error:
        case _ if place is not None:
            sys.stderr.write(f"\n{place}\n")
        case KeyboardInterrupt() if _is_in_import(traceback):
            sys.stderr.write("\ncs_python: interrupted\n")
        case InternalError():
            sys.__excepthook__(kind, error, traceback)
        case OnewaferError() | KeyboardInterrupt():
            shown = TracebackException(kind, error, traceback)
            drop_own_frames(shown)
            sys.stderr.write("".join(shown.format()))
        case _:
            sys.__excepthook__(kind, error, traceback)


def _is_in_import(traceback: TracebackType | None) -> bool:
    """Tell whether modules were being imported: their frames mean nothing to the user."""
    files = (frame.f_code.co_filename for frame, _ in walk_tb(traceback))
    return any(file.startswith("<frozen importlib") for file in files)


# A script enters onewafer only by an import, and this module is the first one imported.
if wants_short_tracebacks():
    install_short_tracebacks()
