"""A command as a process: its output streams and its exit code."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn, cast

from onewafer.terminal import cut_words, visible

if TYPE_CHECKING:
    from collections.abc import Callable

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells give it."""
_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))
"""Names and modes of the standard streams, in the order of their file descriptors."""


def run_command_line(name: str, execute: Callable[[list[str]], int]) -> NoReturn:
    """Run the command line of this process; exit with its code, or 1 if its output went nowhere.

    Characters that the output's encoding lacks (`×` in ASCII) are written as escapes.
    """
    open_missing_streams()
    output = sys.stdout
    if isinstance(output, io.TextIOWrapper):
        cast("io.TextIOWrapper", output).reconfigure(errors="backslashreplace")
    code: str | int | None = 0
    try:
        try:
            code = execute(sys.argv[1:])
        except SystemExit as end:  # how argparse ends
            code = end.code
        except KeyboardInterrupt:
            code = INTERRUPTED
            with suppress(ValueError):  # the program closed it
                sys.stderr.write(f"\n{name}: interrupted\n")
        if not output.closed:
            output.flush()
    except OSError as error:
        # Not if a reader has seen enough, or the command has said it already.
        if not isinstance(error, BrokenPipeError) and not code:
            with suppress(OSError):  # it was stderr that failed
                sys.stderr.write(f"{name}: {describe(error)}\n")
        # Python would try it once more at the exit, and complain in its own words.
        os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())
        code = code or 1
    sys.exit(code)


def open_missing_streams() -> None:
    """Let standard streams that the caller closed (`>&-`) be the null device.

    Otherwise the next file that is opened gets the descriptor of a closed stream, and whatever a
    library or a child process prints goes into that file.
    """
    for descriptor, (name, mode) in enumerate(_STREAMS):
        if getattr(sys, name) is not None:
            continue
        if _is_free(descriptor):
            null = os.open(os.devnull, os.O_RDWR)
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)
            os.set_inheritable(descriptor, True)  # noqa: FBT003 - a positional of the system call
            opened: str | int = descriptor
        else:  # a file that an import opened has it
            opened = os.devnull
        stream = open(opened, mode, encoding="utf-8", errors="backslashreplace")  # noqa: PTH123, SIM115 - a descriptor, for the life of the process
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _is_free(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return True
    return False


def describe(error: OSError) -> str:
    """Return an error of the system in a line."""
    name = "the output" if error.filename is None else visible(str(error.filename))
    return cut_words(f"{name}: {error.strerror or error}")
