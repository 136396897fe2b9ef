"""Files and folders as callers name them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

StrPath = str | os.PathLike[str]


def list_paths(named: StrPath | Iterable[StrPath]) -> list[str]:
    """Return one path, or several, as texts."""
    if isinstance(named, str | os.PathLike):
        return [os.fspath(named)]
    return [os.fspath(path) for path in named]
