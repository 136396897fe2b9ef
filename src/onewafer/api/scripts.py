"""A PyTorch script, run from Python as `onewafer run` runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.api.comparisons import list_systems
from onewafer.api.wafers import WaferArguments, open_wafer, print_notice
from onewafer.errors import InternalError
from onewafer.options import called_with, option, to_arguments, to_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from onewafer.pytorch import Report


class ScriptArguments(WaferArguments):
    """The arguments of `onewafer.run`: a script, how it is run, and those of `onewafer.wafer`."""

    script: Path = option(converter=to_path, help="The path of the script", kw_only=False)
    arguments: Sequence[str] = option(
        default=(),
        converter=to_arguments,
        help="Its arguments, `sys.argv[1:]`",
        kw_only=False,
    )
    against: str | Sequence[str] = option(
        default=(), help='Systems to show the same work on, as in `"h100x8,b200x8"`, or a list'
    )
    cuda_alias: bool | None = option(
        default=None,
        help="Let `cuda` mean the wafer",
        unset="for scripts that cannot do without",
    )


@called_with(ScriptArguments)
def run(asked: ScriptArguments) -> Report:
    """Run a PyTorch script to its end on a simulated wafer, and return its report.

    The script is `__main__`, as under `python`.

    Raises:
        ConfigurationError: there is no such script or system, or an option has no usable value.
        OnewaferError: the script did not catch it.
        InternalError: the script ended well, but its report could not be made.
        SystemExit: the script ended with an exit code other than 0; that of another exception is 1,
            and its traceback is printed, as Python does.
    """
    systems = list_systems((), asked.against) if asked.against else ()
    used = open_wafer(asked)
    result = used.run_script(asked.script, asked.arguments, cuda_alias=asked.cuda_alias)
    failed = result.error or (SystemExit(result.exit_code) if result.exit_code else None)
    try:
        used.finish_recordings()
        if failed is None:
            return used.report_against(systems) if systems else used.report
    except Exception as error:  # it raises what is none of ours
        explained = used.explain_failed_report(error)
        if failed is None:
            raise InternalError(explained) from error
        print_notice(explained)
    raise failed
