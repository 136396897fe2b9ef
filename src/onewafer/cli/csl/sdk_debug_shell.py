"""`sdk_debug_shell compile …`: what `cslc …` was called in older SDKs.

Build scripts of that time still call it so. Its other commands are about the SDK's own container
and window; they name what there is here instead.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, NoReturn

from onewafer.cli.csl import cslc
from onewafer.cli.running.process import run_command_line

if TYPE_CHECKING:
    from collections.abc import Sequence

HELP: Final = """\
usage: sdk_debug_shell compile [options] file.csl

The older name of `cslc [options] file.csl`; `cslc --help` lists the options.
"""
_INSTEAD: Final = {
    "visualize": "`onewafer csl routes DIR` draws the routes of what `cslc -o DIR` wrote, and "
    "`onewafer csl trace -o run.perfetto-trace -- cs_python run.py` records a run",
    "smoke": "to try an installation, run the `commands_wse2.sh` of an example",
}
_USAGE_ERROR: Final = 2


def main() -> NoReturn:
    """Run the command line of this process; exit with its code."""
    run_command_line("sdk_debug_shell", execute)


def execute(arguments: Sequence[str]) -> int:
    """Run a command line and return the exit code; every error is a message on stderr."""
    command, *rest = arguments or ("--help",)
    match command:
        case "compile":
            return cslc.execute(rest)
        case "--help" | "-h":
            sys.stdout.write(HELP)
            return 0
        case _:
            instead = _INSTEAD.get(command, "it has `compile`, which is `cslc`")
            sys.stderr.write(f"sdk_debug_shell: there is no `{command}` here; {instead}\n")
            return _USAGE_ERROR


if __name__ == "__main__":
    main()
