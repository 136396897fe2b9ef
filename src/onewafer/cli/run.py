"""`onewafer run`: a PyTorch script with its inference on the simulated wafer."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from onewafer.api import Wafer, list_systems, open_session, require_torch
from onewafer.cli.options.flags import with_flags
from onewafer.cli.options.output_files import check_output, write_output
from onewafer.cli.options.recorded_run import LiveOption, ViewOption, recorded
from onewafer.cli.running.live_page import live_page
from onewafer.errors import ConfigurationError, OnewaferError, RecordingError
from onewafer.options import RecordOptions, RunOptions, settings_with

if TYPE_CHECKING:
    from onewafer.settings import Settings

_AgainstOption = Annotated[
    str | None,
    typer.Option(
        metavar="SYSTEMS",
        help="Show the same step or pass there, e.g. h100x8,b200x8 (`onewafer compare --list`).",
    ),
]
_JsonOption = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the report as JSON.")
]
_ExplainOption = Annotated[
    bool,
    typer.Option("--explain-placement", help="Say why the rectangle, and how tensors lie."),
]
_CudaAliasOption = Annotated[
    bool | None,
    typer.Option(
        "--cuda-alias/--no-cuda-alias",
        help="Answer that there is a CUDA device, the wafer; never let `cuda` mean the wafer "
        "[default: it does for scripts that use one without asking, if the host has none].",
    ),
]

_QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="No report and no progress line.")
]
_VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", help="Report all tables, every place and nested call.")
]


@with_flags
def run(
    script: Annotated[Path, typer.Argument(metavar="SCRIPT", help="A PyTorch script.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="ARGUMENT", help="Passed on to the script."),
    ] = None,
    *,
    options: RunOptions,
    cuda_alias: _CudaAliasOption = None,
    against: _AgainstOption = None,
    json_file: _JsonOption = None,
    recording: RecordOptions,
    live: LiveOption = False,
    view: ViewOption = False,
    explain_placement: _ExplainOption = False,
    verbose: _VerboseOption = False,
    quiet: _QuietOption = False,
) -> None:
    """Run a PyTorch script; module calls and training loops run on a simulated wafer.

    Options come before the script, everything after it belongs to the script. The script's own
    output is untouched; the report goes to stderr after it. The exit code is the script's.
    """
    _check_script(script)
    output = _Output.of(json_file, against, explain_placement, verbose, quiet)
    settings = settings_with(options, progress=not quiet)
    _say_wafer(options)
    watched = recorded(settings, recording, is_live=live, is_shown=view)
    with watched as settings, live_page(settings.record_file, is_wanted=view):
        _run(script, arguments or [], options, settings, cuda_alias=cuda_alias, output=output)


@dataclass(frozen=True, slots=True)
class _Output:
    """The outputs that the user asked for after a run, and where they go."""

    json_file: Path | None
    explains_placement: bool
    is_verbose: bool
    is_quiet: bool
    against: tuple[str, ...] = ()
    """Systems that the work is compared with."""

    @classmethod
    def of(
        cls, json_file: Path | None, against: str | None, *flags: *tuple[bool, bool, bool]
    ) -> _Output:
        """Return what options ask for; raise ConfigurationError for a file or a system."""
        systems = () if against is None else list_systems((), against)
        return cls(check_output("--json", json_file), *flags, systems)


def _check_script(script: Path) -> None:
    """Raise ConfigurationError if there is none, or no torch, before seconds of loading."""
    if not script.exists():
        raise ConfigurationError(f"there is no script {script}")
    require_torch("`onewafer run`")


def _say_wafer(options: RunOptions) -> None:
    from onewafer.arch import load_architecture  # noqa: PLC0415  # when it is used

    wafer = load_architecture(options.arch, profile=options.profile).name
    if wafer != options.arch:
        typer.echo(f"onewafer: --arch {options.arch}: its wafer is simulated, {wafer}", err=True)


def _run(
    script: Path,
    arguments: list[str],
    options: RunOptions,
    settings: Settings,
    *,
    cuda_alias: bool | None,
    output: _Output,
) -> NoReturn:
    from onewafer.execution.report import render_placement  # noqa: PLC0415  # when it is used
    from onewafer.pytorch import render, to_json  # noqa: PLC0415  # likewise
    from onewafer.terminal import PlainConsole  # noqa: PLC0415  # likewise

    console = PlainConsole(stderr=True)
    process_id = os.getpid()
    wafer = Wafer(open_session(options, settings))
    announce = _drop if output.is_quiet else None
    result = wafer.run_script(script, arguments, cuda_alias=cuda_alias, announce=announce)
    with suppress(OSError, ValueError):  # closed; Python itself says so at exit
        sys.stdout.flush()
    if os.getpid() != process_id:  # a child that the script forked
        raise typer.Exit(result.exit_code)
    try:
        recordings = wafer.finish_recordings()
        report, refusal = wafer.report, None
        if output.against:
            try:
                report = wafer.report_against(output.against)
            except OnewaferError as error:  # the report itself is shown nevertheless
                refusal = error
        shown, text = render(report, is_verbose=output.is_verbose), to_json(report)
    except Exception as error:  # noqa: BLE001  # it raises what is none of ours
        typer.echo(f"onewafer: {wafer.explain_failed_report(error)}", err=True)
        raise (result.error or typer.Exit(result.exit_code)) from None
    try:
        if output.json_file is not None:
            write_output(output.json_file, text)
    finally:  # a full disk takes the file, not what was printed
        if not output.is_quiet:
            console.print(shown)
        if output.explains_placement:
            console.print(render_placement(report.programs))
    if result.error is not None:
        raise result.error
    if refusal is not None:
        raise refusal
    if settings.record_file is not None and not recordings:
        raise RecordingError(
            "nothing was simulated, so there is no recording: let the wafer run a module, with "
            "--fidelity fabric, or with auto and a larger --simulate-budget"
        )
    raise typer.Exit(result.exit_code)


def _drop(text: str) -> None:
    del text
