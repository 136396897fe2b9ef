"""Errors under a user's script, without our own frames: the script's frames and one message.

What our code called and caught on the way (NumPy, a file that is missing) is ours too.
"""

from __future__ import annotations

import sys
from itertools import takewhile
from pathlib import Path
from traceback import StackSummary, TracebackException
from typing import TYPE_CHECKING

import onewafer
from onewafer.errors import InternalError, OnewaferError
from onewafer.host.interruption import Interruption

if TYPE_CHECKING:
    from types import TracebackType

_OWN_FOLDERS = tuple(
    str(Path(onewafer.__file__).parent.parent / name) + "/" for name in ("onewafer", "cerebras")
)


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
            _drop_own_frames(shown)
            sys.stderr.write("".join(shown.format()))
        case _:
            sys.__excepthook__(kind, error, traceback)


def _drop_own_frames(shown: TracebackException) -> None:
    shown.__cause__ = None
    link: TracebackException | None = shown
    while link is not None:
        theirs = takewhile(lambda f: not f.filename.startswith(_OWN_FOLDERS), link.stack)
        link.stack = StackSummary.from_list([*theirs])
        link = link.__cause__ or link.__context__
