"""The folder of a compiled program, as host scripts name it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from onewafer.errors import HostError

if TYPE_CHECKING:
    from os import PathLike


def find_folder(named: str | PathLike[str]) -> Path:
    """Return the path of a program's folder; scripts often pass None for a missing argument.

    Raises:
        HostError: there is no such folder, or the argument is no path.
    """
    try:
        folder = Path(named)
    except TypeError:
        raise HostError(f"{named!r} is not a folder: pass the one given to cslc with -o") from None
    if not folder.is_dir():
        raise HostError(f"there is no folder {str(folder)!r}: pass the one given to cslc with -o")
    return folder
