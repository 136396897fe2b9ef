"""The commands of an installation; each loads its program when Ctrl-C is one line already.

Nothing is undone at a Ctrl-C while modules are loaded, so the process ends there and then: what an
import makes of a `KeyboardInterrupt`, which may come in the middle of C code, is not foreseeable.
"""

from __future__ import annotations

import os
import signal
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from types import FrameType

_INTERRUPTED = 130


def onewafer() -> NoReturn:
    """Run `onewafer`."""
    _run("onewafer", "main")


def cslc() -> NoReturn:
    """Run `cslc`."""
    _run("cslc", "csl.cslc")


def cs_python() -> NoReturn:
    """Run `cs_python`."""
    _run("cs_python", "csl.cs_python")


def sdk_debug_shell() -> NoReturn:
    """Run `sdk_debug_shell`."""
    _run("sdk_debug_shell", "csl.sdk_debug_shell")


def _run(name: str, module: str) -> NoReturn:
    def end(number: int, frame: FrameType | None) -> NoReturn:
        del number, frame
        os.write(2, f"\n{name}: interrupted\n".encode())
        os._exit(_INTERRUPTED)

    usual = signal.getsignal(signal.SIGINT)  # that of Python, unless the caller ignores Ctrl-C
    is_usual = usual is signal.default_int_handler
    if is_usual:
        signal.signal(signal.SIGINT, end)

    def execute(arguments: list[str]) -> int:
        program = import_module(f"onewafer.cli.{module}")
        if is_usual:
            signal.signal(signal.SIGINT, usual)
        return program.execute(arguments)

    from onewafer.cli.running.process import run_command_line  # noqa: PLC0415  # as promised above

    run_command_line(name, execute)
