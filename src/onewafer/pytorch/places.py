"""The owner of a file's code, and the line of the user's code that a call comes from.

In: the stack of this thread. Out: a place in the script or in a module beside it, never one of
PyTorch, of onewafer or, if there is another, of an installed package.
"""

from __future__ import annotations

import ast
import linecache
import sys
import sysconfig
from enum import Enum, auto
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

import onewafer
from onewafer.errors import SourceLine

if TYPE_CHECKING:
    from types import FrameType

_HIDDEN = tuple(f"{Path(file).parent}/" for file in (torch.__file__, onewafer.__file__))
_LIBRARIES = tuple(f"{sysconfig.get_path(name)}/" for name in ("stdlib", "platstdlib"))
_INSTALLED = ("/site-packages/", "/dist-packages/")


class Owner(Enum):
    """Who wrote a file."""

    USER = auto()
    LIBRARY = auto()
    HIDDEN = auto()
    """PyTorch and onewafer, which stand between the user and every call."""


class Place(NamedTuple):
    """A line of Python code; quick to make, since every counted operation has one."""

    file: str
    line: int

    def to_source_line(self) -> SourceLine:
        """Return the line with its text, which is empty if the file is gone."""
        return SourceLine(self.file, self.line, linecache.getline(self.file, self.line).strip())


def users_place() -> Place | None:
    """Return the innermost line of the user's code that this thread is in.

    Where there is none, that of a library; None if there is neither.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # documented
    library: FrameType | None = None
    while frame is not None:
        owner = owner_of(frame.f_code.co_filename)
        if owner is Owner.USER:
            return place_of(frame)
        if owner is Owner.LIBRARY:
            library = library or frame
        frame = frame.f_back
    return None if library is None else place_of(library)


def place_of(frame: FrameType) -> Place:
    """Return the line that a frame is at."""
    return Place(frame.f_code.co_filename, frame.f_lineno)


@lru_cache(maxsize=64)
def nodes_of(file: str) -> tuple[ast.AST, ...]:
    """Return the nodes of a file's syntax tree; none if it has no Python text."""
    try:
        return (*ast.walk(ast.parse("".join(linecache.getlines(file)))),)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()


@cache
def owner_of(file: str) -> Owner:
    """Return the owner of a file's code, by its path."""
    if file.startswith(_HIDDEN) or file.startswith("<eval_with_key>"):
        return Owner.HIDDEN
    is_library = file.startswith((*_LIBRARIES, "<frozen ")) or any(n in file for n in _INSTALLED)
    return Owner.LIBRARY if is_library else Owner.USER
