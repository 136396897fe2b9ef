"""Commands of onewafer in processes of their own, for points that run a user's Python."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from onewafer.errors import OnewaferError
from onewafer.settings import environment_with

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from onewafer.sweep.subjects.subject import Share

_MOST_CHARACTERS = 600
"""Number of characters kept from the end of a command's output."""


def run_command(name: str, arguments: Sequence[str], *, folder: Path, share: Share) -> None:
    """Run one of the commands of onewafer in a folder; its output is discarded.

    Raises OnewaferError with the end of its output, if it fails.
    """
    program = f"from onewafer.cli.commands import {name}; {name}()"
    environment = environment_with(
        ONEWAFER_PROGRESS="off",
        ONEWAFER_CHECKPOINT_DIR="off",
        ONEWAFER_MAX_MEMORY=None if share.memory_bytes is None else str(share.memory_bytes),
        ONEWAFER_THREADS=None if share.threads is None else str(share.threads),
    )
    done = subprocess.run(  # noqa: S603  # our own command; the user's script is theirs
        [sys.executable, "-c", program, *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        last = said[-_MOST_CHARACTERS:].strip().splitlines()
        raise OnewaferError(
            f"exit code {done.returncode}: {last[-1] if last else 'it said nothing on stderr'}"
        )
