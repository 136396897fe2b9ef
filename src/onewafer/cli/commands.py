"""The commands of an installation; each loads its program when Ctrl-C is one line already."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from onewafer.cli.running.process import run_command_line

if TYPE_CHECKING:
    from collections.abc import Callable


def onewafer() -> NoReturn:
    """Run `onewafer`."""
    run_command_line("onewafer", _execute_of("main"))


def cslc() -> NoReturn:
    """Run `cslc`."""
    run_command_line("cslc", _execute_of("csl.cslc"))


def cs_python() -> NoReturn:
    """Run `cs_python`."""
    run_command_line("cs_python", _execute_of("csl.cs_python"))


def sdk_debug_shell() -> NoReturn:
    """Run `sdk_debug_shell`."""
    run_command_line("sdk_debug_shell", _execute_of("csl.sdk_debug_shell"))


def _execute_of(module: str) -> Callable[[list[str]], int]:
    return lambda arguments: import_module(f"onewafer.cli.{module}").execute(arguments)
