"""Warnings of replaced functions, which shall name the line of the script and not ours.

PyTorch's functions warn about the line that calls them. Some are called by ours, which stand in
their place while a script runs; then the line of the script is the one that called ours.

Only what is shown is mended: filters of a module, and whoever shows warnings in another way, as
`catch_warnings(record=True)` of a script does, get our line.
"""

from __future__ import annotations

import functools
import sys
import warnings
from typing import TYPE_CHECKING, TextIO

from onewafer.process.blocks import Replacement
from onewafer.process.tracebacks import is_own_file
from onewafer.pytorch.places import Place, place_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from types import FrameType

    Show = Callable[..., None]


def warning_of_callers() -> AbstractContextManager[object]:
    """Let warnings that name a line of ours name the one that called us, inside the block."""
    return _SHOWING.in_place()


def _replace_showing(original: Show) -> Show:
    @functools.wraps(original)
    def showwarning(  # noqa: PLR0917  # as in Python
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        frames = _find_frames(Place(filename, lineno)) if line is None else None
        if frames is not None:
            key = str(message), category
            if _was_shown(key, *frames):
                return
            filename, lineno = place_of(frames[1])
        original(message, category, filename, lineno, file, line)

    return showwarning


def _find_frames(place: Place) -> tuple[FrameType, FrameType] | None:
    """Return the frame that is at a line of ours, and the one that called us; None: there are none.

    Frames are those of this thread.
    """
    if not is_own_file(place.file):
        return None
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # documented
    own: FrameType | None = None
    while frame is not None:
        if own is None and place_of(frame) == place:
            own = frame
        if own is not None and not is_own_file(frame.f_code.co_filename):
            return own, frame
        frame = frame.f_back
    return None


def _was_shown(key: tuple[str, type[Warning]], own: FrameType, caller: FrameType) -> bool:
    """Tell whether a warning is one that is shown once for each line, and was for the caller's.

    Python has noted that it was for ours, where others of the same text may come from, too.
    """
    noted = own.f_globals.get(_REGISTRY, {})
    if noted.pop((*key, own.f_lineno), None) is None:
        return False  # Python shows it each time
    shown = caller.f_globals.setdefault(_REGISTRY, {})
    if shown.get("version") != noted.get("version"):  # as Python does after a change of filters
        shown.clear()
        shown["version"] = noted.get("version")
    was_shown = (*key, caller.f_lineno) in shown
    shown[*key, caller.f_lineno] = True
    return was_shown


_REGISTRY = "__warningregistry__"
"""Where Python notes in each module which warnings it has shown."""
_SHOWING = Replacement(warnings, "showwarning", _replace_showing)
