"""Files that are written as a whole or not at all, and read only if they have an end."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING

from onewafer.units import format_size

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


def check_file(path: Path, *, most_bytes: int | None = None) -> None:
    """Raise an OSError unless `path` is a regular file of at most `most_bytes`.

    Reading a pipe may block for ever, and a device may have no end.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a file", str(path))
    if most_bytes is not None and status.st_size > most_bytes:
        raise OSError(errno.EFBIG, f"it has more than {format_size(most_bytes)}", str(path))


@contextmanager
def whole_file(path: Path) -> Generator[Path]:
    """Yield a temporary path to write to: renamed to `path` after the block, removed if it fails.

    A link or a device (`/dev/stdout`) is written in place. `OSError`s name `path`.
    """
    with naming(path):
        if _is_written_in_place(path):
            yield path
            return
        partial = new_sibling(path, ".partial")
        try:
            with naming(path, partial):
                yield partial
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def naming(path: Path, partial: Path | None = None) -> Generator[None]:
    """Let an `OSError` in the block name `path` if it names no file, or names `partial`.

    The error of a full disk names no file, and libraries word it in their own way.
    """
    try:
        yield
    except OSError as error:
        names = (error.filename, error.filename2)
        if error.filename is None or (partial is not None and str(partial) in map(str, names)):
            error.filename, error.filename2 = str(path), None
            error.strerror = os.strerror(error.errno) if error.errno else error.strerror
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8.

    Raises:
        OSError: it cannot be written; an earlier file of that name is unchanged.
    """
    with whole_file(path) as target:
        target.write_text(text, encoding="utf-8")


def try_to_write(path: Path) -> None:
    """Raise the OSError that writing `path` would raise, as far as it can be foreseen."""
    if _is_written_in_place(path):
        path.open("ab").close()
        return
    new_sibling(path, ".partial").unlink()


def new_sibling(path: Path, ending: str) -> Path:
    """Create an empty, hidden file beside `path` with a unique name, and return its path.

    Unlike those of `tempfile`, it has the usual permissions, so that it can be renamed to `path`.

    Raises:
        OSError: the folder cannot be written.
    """
    for number in count():
        sibling = path.with_name(f".{path.name}.{os.getpid()}-{number}{ending}")
        try:
            sibling.touch(exist_ok=False)
        except FileExistsError:
            continue
        return sibling
    raise AssertionError  # numbers do not end


def _is_written_in_place(path: Path) -> bool:
    return path.is_symlink() or (path.exists() and not path.is_file())
