"""The CSL of programs as files, for people to read and `cslc` to compile.

In: emitted programs and the folder that a user named. Out: a folder for each program in it, which
is complete when it gets its name. Programs that are there already stay as they are: another one of
the same name gets a number.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import threading
from itertools import count
from typing import TYPE_CHECKING

from onewafer.errors import ConfigurationError
from onewafer.files.whole_files import try_to_write
from onewafer.terminal import visible

if TYPE_CHECKING:
    from pathlib import Path

    from onewafer.mesh import EmittedProgram

_HEADER = """\
// {what}. In this folder:
//   cslc -O1 --arch={arch} {entry} --memcpy --params={params} -o out

"""
_MOST_LETTERS = 50
"""Limit of the letters of a folder's name; names of classes may be too long for file systems."""
_IS_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)
"""System errors for a name that another file or folder has."""


def check_csl_folder(folder: Path, *, is_new: bool = False) -> None:
    """Raise ConfigurationError if programs cannot be written to a folder.

    Its parent must exist. `is_new`: the folder must be empty or absent, so that no program in it is
    of another run.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise _refusal(folder, "that is a file; name a folder")
        if not folder.is_dir() and not folder.parent.is_dir():
            raise _refusal(folder, f"there is no folder {folder.parent}")
        if is_new and folder.is_dir() and any(folder.iterdir()):
            raise _refusal(folder, "it holds files; name another folder, or empty this one")
        try_to_write(folder / "layout.csl" if folder.is_dir() else folder)
    except OSError as error:
        raise _refusal(folder, error.strerror or str(error)) from None


def write_csl(emitted: EmittedProgram, folder: Path, *, name: str, what: str, arch: str) -> Path:
    """Write a program to a folder of its own inside `folder`, and return it.

    `what` is its name for people, `arch` the machine that it was emitted for. Raises
    ConfigurationError if it cannot be written; then no part of it is left.
    """
    params = ",".join(f"{param}:{value}" for param, value in emitted.params.items())
    header = _HEADER.format(what=visible(what), arch=arch, entry=emitted.entry, params=params)
    stem = re.sub(r"\W+", "_", name)[:_MOST_LETTERS] or "program"
    partial = folder / f".{stem}.{os.getpid()}-{threading.get_ident()}.partial"
    try:
        partial.mkdir(parents=True)
        for file, text in emitted.files.items():
            lines = header + text if file == emitted.entry else text
            path = partial / file
            path.write_text(lines, encoding="utf-8", errors="backslashreplace")
        return _rename(partial, folder / stem)
    except OSError as error:
        raise _refusal(folder, error.strerror or str(error)) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _rename(partial: Path, wanted: Path) -> Path:
    """Rename a folder to the wanted name, or to the first free one with a number."""
    for number in count(1):
        named = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        try:
            return partial.rename(named)
        except OSError as error:
            if error.errno not in _IS_TAKEN:
                raise
    raise AssertionError  # numbers do not end


def _refusal(folder: Path, reason: str) -> ConfigurationError:
    return ConfigurationError(f"CSL cannot be written to {folder}: {reason}")
