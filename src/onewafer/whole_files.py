"""Output files that appear whole or not at all."""

from __future__ import annotations

import os
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Generator[Path]:
    """Yield where to write; it becomes `path` if the block ends well, and is removed if not.

    A link or a device (`/dev/stdout`) is written in place instead of being replaced.
    """
    if _is_written_in_place(path):
        yield path
        return
    partial = new_sibling(path, ".partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8.

    Raises:
        OSError: it cannot be written; what stood there is still there.
    """
    with whole_file(path) as target:
        target.write_text(text, encoding="utf-8")


def try_to_write(path: Path) -> None:
    """Raise the OSError that writing would end with, as far as one can know before."""
    if _is_written_in_place(path):
        path.open("ab").close()
        return
    new_sibling(path, ".partial").unlink()


def new_sibling(path: Path, ending: str) -> Path:
    """Make an empty file beside `path`, hidden, with a name that nobody else has, and return it.

    Unlike those of `tempfile`, it has the permissions of any new file: it may become `path`.

    Raises:
        OSError: there can be none.
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
