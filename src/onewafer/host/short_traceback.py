"""Errors under a user's script, without our own frames: the script's frames and one message."""

from __future__ import annotations

import sys
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
    """Shorten uncaught errors of ours, unless somebody else shows errors already."""
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = show_error


def show_error(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """Print an uncaught error as Python does; one of ours without our frames.

    A Ctrl-C that stopped a simulation is one sentence; Python then ends by the signal.
    """
    place = Interruption.of(error)
    match error:
        case _ if place is not None:
            sys.stderr.write(f"\n{place}\n")
        case OnewaferError() if not isinstance(error, InternalError):
            shown = TracebackException(kind, error, traceback)
            _drop_own_frames(shown)
            sys.stderr.write("".join(shown.format()))
        case _:
            sys.__excepthook__(kind, error, traceback)


def _drop_own_frames(shown: TracebackException) -> None:
    link: TracebackException | None = shown
    while link is not None:
        kept = [frame for frame in link.stack if not frame.filename.startswith(_OWN_FOLDERS)]
        link.stack = StackSummary.from_list(kept)
        link = link.__cause__ or link.__context__
