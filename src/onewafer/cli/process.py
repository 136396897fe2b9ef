"""A command as a process of its own: what its output goes through, and its exit code."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, NoReturn, cast

if TYPE_CHECKING:
    from collections.abc import Callable


def run_command_line(name: str, execute: Callable[[list[str]], int]) -> NoReturn:
    """Run the command line of this process; exit with its code, or 1 if its output went nowhere.

    Characters that the output's encoding lacks (`×` in ASCII) are written as escapes.
    """
    output = sys.stdout
    if isinstance(output, io.TextIOWrapper):
        cast("io.TextIOWrapper", output).reconfigure(errors="backslashreplace")
    code: str | int | None = 0
    try:
        try:
            code = execute(sys.argv[1:])
        except SystemExit as end:  # how argparse ends
            code = end.code
        output.flush()
    except OSError as error:
        # Not if a reader has seen enough, or the command has said it already.
        if not isinstance(error, BrokenPipeError) and not code:
            sys.stderr.write(f"{name}: {describe(error)}\n")
        # Python would try it once more at the exit, and complain in its own words.
        os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())
        code = code or 1
    sys.exit(code)


def describe(error: OSError) -> str:
    """Return an error of the system in a line."""
    return f"{error.filename or 'the output'}: {error.strerror or error}"
