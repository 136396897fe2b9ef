"""Tracebacks without our own frames: the user's frames, then the message.

Under a script, and in the cell of a notebook. What our code called and caught on the way (NumPy, a
file that is missing) is ours too.
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
    """Tell whether a file, as frames name it, is one of ours."""
    return name.startswith(_OWN_FOLDERS)


def drop_own_frames(shown: TracebackException) -> None:
    """Take our frames, and what they called, out of an error and of those that it came from."""
    shown.__cause__ = None
    link: TracebackException | None = shown
    while link is not None:
        theirs = takewhile(lambda f: not is_own_file(f.filename), link.stack)
        link.stack = StackSummary.from_list([*theirs])
        link = link.__cause__ or link.__context__


def render_in_notebook(error: BaseException) -> list[str]:
    """Return what a cell shows of an error: where the user's code stands, and the message."""
    shown = TracebackException.from_exception(error)
    drop_own_frames(shown)
    frames = StackSummary.from_list([*dropwhile(_is_of_ipython, shown.stack)])
    message = str(error)
    separator = "\n" if "\n" in message else " "
    where = ["Traceback (most recent call last):", *frames.format()] if frames else []
    lines = (line.rstrip("\n") for line in where)
    return [*lines, f"{type(error).__name__}:{separator}{message}"]


def render_whole(error: BaseException) -> list[str]:
    """Return what a cell shows of a bug of ours: everything, as Python does."""
    return "".join(TracebackException.from_exception(error).format()).splitlines()


def _is_of_ipython(frame: FrameSummary) -> bool:
    return "IPython" in Path(frame.filename).parts
