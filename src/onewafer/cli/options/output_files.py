"""Files that options name: refused before the work if they cannot be written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.errors import ConfigurationError
from onewafer.files.whole_files import try_to_write, write_text

if TYPE_CHECKING:
    from pathlib import Path


def check_output(option: str, path: Path | None) -> Path | None:
    """Return the absolute path of a file that `option` names, or None if it names none.

    Absolute, because a script may change the working directory before the file is written.

    Raises:
        ConfigurationError: it cannot be written.
    """
    if path is None:
        return None
    absolute = path.absolute()
    if absolute.is_dir():
        raise ConfigurationError(f"{option} {path}: that is a directory; name a file")
    if not absolute.parent.is_dir():
        raise ConfigurationError(f"{option} {path}: there is no directory {absolute.parent}")
    try:
        try_to_write(absolute)
    except OSError as error:
        raise ConfigurationError(
            f"{option} {path}: it cannot be written: {error.strerror or error}"
        ) from None
    return absolute


def write_output(path: Path, text: str) -> None:
    """Write a text file, whole or not at all.

    Raises:
        ConfigurationError: it cannot be written after all.
    """
    try:
        write_text(path, text)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from error
