"""Tracebacks without our own frames: the user's frames, then the message.

They are shown for a script and in a notebook's cell. Frames of libraries that our code called
(NumPy, for example) are left out, too.
"""

from __future__ import annotations

from itertools import dropwhile, takewhile
from pathlib import Path
from traceback import StackSummary, TracebackException
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from traceback import FrameSummary

_OWN_FOLDERS = tuple(
    str(Path(__file__).parents[2] / name) + "/" for name in ("onewafer", "cerebras")
)


def is_own_file(name: str) -> bool:
    """Tell whether a file, by the name that frames have, is part of onewafer."""
    return name.startswith(_OWN_FOLDERS)


def drop_own_frames(shown: TracebackException) -> None:
    """Remove our frames, and those that they called, from an error and the errors before it."""
    shown.__cause__ = None
    link: TracebackException | None = shown
    while link is not None:
        theirs = takewhile(lambda f: not is_own_file(f.filename), link.stack)
        link.stack = StackSummary.from_list([*theirs])
        link = link.__cause__ or link.__context__


def render_in_notebook(error: BaseException) -> list[str]:
    """Return the lines that a notebook's cell shows of an error: the user's frames, the message."""
    shown = TracebackException.from_exception(error)
    drop_own_frames(shown)
    frames = StackSummary.from_list([*dropwhile(_is_of_ipython, shown.stack)])
    message = str(error)
    separator = "\n" if "\n" in message else " "
    where = ["Traceback (most recent call last):", *frames.format()] if frames else []
    lines = (line.rstrip("\n") for line in where)
    return [*lines, f"{type(error).__name__}:{separator}{message}"]


def render_whole(error: BaseException) -> list[str]:
    """Return the lines that a notebook's cell shows of a bug of ours: the whole traceback."""
    return "".join(TracebackException.from_exception(error).format()).splitlines()


def _is_of_ipython(frame: FrameSummary) -> bool:
    return "IPython" in Path(frame.filename).parts
