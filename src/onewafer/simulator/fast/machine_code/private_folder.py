"""Folders that no other user can write: machine code that is loaded from a file is executed.

A user who can write a parent folder of a file can replace the file. So every parent folder and
symbolic link has to belong to this user or to the system's administrator. A parent folder that
others can write is accepted only if it is sticky like `/tmp`: files of this user in it cannot be
replaced by others.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = 0
"""The user number of the system's administrator."""
_MOST_LINKS = 40


class NotPrivateError(OSError):
    """Others can change a folder or file; the message says why."""


def make_private(folder: Path) -> None:
    """Make a folder and its missing parents, accessible by this user only.

    Raises:
        NotPrivateError: others can change its content.
        OSError: the folder cannot be made.
    """
    check_private(folder)
    for missing in reversed([folder, *folder.parents]):
        if not missing.exists():
            missing.mkdir(mode=stat.S_IRWXU, exist_ok=True)
    if _is_checked():
        folder.chmod(stat.S_IRWXU)


def check_private(folder: Path) -> None:
    """Raise `NotPrivateError` if others can change present or future content of a folder."""
    for place in _way_to(folder) if _is_checked() else ():
        status = place.lstat()
        _check_owner(place, status)
        is_above = place != folder
        if stat.S_ISLNK(status.st_mode) or (is_above and status.st_mode & stat.S_ISVTX):
            continue
        _check_writers(place, status)


def check_private_file(path: Path) -> None:
    """Raise `NotPrivateError` if others can change a file."""
    if _is_checked():
        status = path.stat()
        _check_owner(path, status)
        _check_writers(path, status)


def _check_owner(place: Path, status: os.stat_result) -> None:
    if status.st_uid not in (ROOT, os.geteuid()):
        raise NotPrivateError(f"{place} belongs to another user (number {status.st_uid})")


def _check_writers(place: Path, status: os.stat_result) -> None:
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise NotPrivateError(f"other users can write {place} (`chmod go-w` forbids it)")


def _is_checked() -> bool:
    """Tell whether the system has POSIX users and modes."""
    return os.name == "posix"


def _way_to(path: Path) -> Iterator[Path]:
    """Yield each existing folder and link of a path, from the root on."""
    waiting = [*reversed(path.absolute().parts)]
    place, num_links = Path(), 0
    while waiting:
        part = waiting.pop()
        place = place.parent if part == os.pardir else place / part
        if not os.path.lexists(place):
            return
        yield place
        if place.is_symlink():
            num_links += 1
            if num_links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
            waiting += reversed(place.readlink().parts)
            place = place.parent
