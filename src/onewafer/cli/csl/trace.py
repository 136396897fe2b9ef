"""`onewafer csl trace`: run a host script, or a program without one, and write what happened."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Annotated

import typer

from onewafer.cli.csl.program_folder import ProfileOption, load_image
from onewafer.cli.options.flags import with_flags
from onewafer.cli.options.recorded_run import ViewOption, recorded
from onewafer.cli.running.live_page import live_page
from onewafer.errors import ConfigurationError, TraceError
from onewafer.options import (
    CheckOptions,
    LimitOption,
    RecordOptions,
    settings_with,
)
from onewafer.settings import check_trace_file
from onewafer.terminal import printable

if TYPE_CHECKING:
    from onewafer.host import Device
    from onewafer.settings import Settings

DEFAULT_OUTPUT = "trace.perfetto-trace"
DEFAULT_PROFILE = "sdk"
_RUNNERS = frozenset(("cs_python", "python", "python3"))
_TRACE = ".wafer-trace"
_INTERRUPTED = 130
_SIGNALLED = 128


_OutputOption = Annotated[
    list[str] | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FILE",
        help="Ends in .perfetto-trace (ui.perfetto.dev), .log (wse-viz), .txt (cycles by source "
        f"line, and why) or .wafer-trace; repeatable [default: {DEFAULT_OUTPUT}].",
    ),
]


@with_flags
def trace(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="SCRIPT|FOLDER|FILE",
            help="A host script with its arguments, a compiled program, or a .wafer-trace.",
        ),
    ],
    *,
    outputs: _OutputOption = None,
    launch: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[:NUMBER,…]",
            help="For a FOLDER: a function to launch, with its arguments; repeatable.",
        ),
    ] = None,
    recording: RecordOptions,
    view: ViewOption = False,
    profile: ProfileOption = DEFAULT_PROFILE,
    limit: LimitOption,
    checks: CheckOptions,
) -> None:
    """Run a CSL program, and write when its tasks and DSD operations ran and what they waited for.

    SCRIPT runs as under cs_python, whose exit code it has; `cs_python` may stand before it. FOLDER
    runs the start-up of a program and the functions that --launch names. FILE, a .wafer-trace
    that was written before, is only converted. Options come first.
    """
    named = dict.fromkeys(outputs or [DEFAULT_OUTPUT])
    files = [check_trace_file(text, "-o") for text in named]
    subject = Path(what[0])
    if profile != DEFAULT_PROFILE and not subject.is_dir():
        raise ConfigurationError(
            f"--profile is for a FOLDER: a script runs with {DEFAULT_PROFILE} timing, and a trace "
            "has that of its run"
        )
    if subject.suffix == _TRACE:
        is_run = view or (limit, checks, recording) != (
            LimitOption(),
            CheckOptions(),
            RecordOptions(),
        )
        _refuse_script_options(what, launch, is_run=is_run)
        _convert(subject, files)
        return
    settings = settings_with(limit, checks)
    with (
        recorded(settings, recording, is_shown=view) as settings,
        live_page(settings.record_file, is_wanted=view),
    ):
        if subject.is_dir():
            if len(what) > 1:
                raise ConfigurationError(
                    f"{what[1]}: a folder has no arguments; options come before it"
                )
            calls = [_parse_launch(text) for text in launch or []]
            _run_folder(_make_device(subject, files, profile, settings), calls)
            code = 0
        elif launch:
            raise ConfigurationError("--launch is for a FOLDER; a script launches by itself")
        else:
            code = _run_script(what, files, settings)
        raise typer.Exit(code)


def _refuse_script_options(what: list[str], launch: list[str] | None, *, is_run: bool) -> None:
    if len(what) > 1 or launch or is_run:
        raise ConfigurationError(f"{what[0]}: a trace is only converted: it takes -o and no more")


def _run_script(what: list[str], files: list[Path], settings: Settings) -> int:
    """Run the script, and say so if nothing was simulated by it; return its exit code."""
    arguments = what[1:] if what[0] in _RUNNERS else what
    if not arguments:
        raise ConfigurationError(f"after {what[0]} comes the script, as in {what[0]} run.py")
    if _is_other_command(arguments[0]):
        raise ConfigurationError(
            f"{arguments[0]} is not a host script: trace the one it starts, or let "
            f"ONEWAFER_TRACE={files[0].name} stand before the command"
        )
    if not arguments[0].startswith("-") and not Path(arguments[0]).exists():
        raise ConfigurationError(f"there is no script, folder or trace {arguments[0]}")
    options = [f"--trace={','.join(map(str, files))}"]
    if settings.max_cycles is not None:
        options.append(f"--max-cycles={settings.max_cycles}")
    if settings.is_strict:
        options.append("--strict")
    if settings.checks:
        options.append(f"--check={','.join(settings.checks)}")
    if settings.record_file is not None:
        options.append(f"--record={settings.record_file}")
    if settings.sample_every is not None:
        options.append(f"--sample-every={settings.sample_every}")
    if settings.is_live:
        options.append("--live")
    sys.stdout.flush()
    command = [sys.executable, "-m", "onewafer.cli.csl.cs_python", *options, *arguments]
    before = [_identity(path) for path in files]
    code = _run(command)
    if code == 0 and [_identity(path) for path in files] == before:
        note = "nothing was simulated, so there is no trace: a host script loads a program"
        print(f"onewafer: {arguments[0]}: {note}, as with SdkRuntime(…).load()", file=sys.stderr)
        code = TraceError.exit_code
    return code


def _run(command: list[str]) -> int:
    """Return the exit code of a command, as a shell gives it."""
    with subprocess.Popen(command) as process:  # noqa: S603 - our interpreter
        while True:
            try:
                code = process.wait()
            except KeyboardInterrupt:
                continue  # the script hears of it, too, and says how it ends
            return code if code >= 0 else _SIGNALLED - code


def _identity(path: Path) -> tuple[int, int] | None:
    """Return an identity that changes if a file is replaced; None: there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _is_other_command(name: str) -> bool:
    """Tell whether the shell would run this, and Python would not."""
    return name.endswith(".sh") or not (Path(name).exists() or which(name) is None)


def _make_device(folder: Path, files: list[Path], profile: str, settings: Settings) -> Device:
    from onewafer.arch import load_architecture  # noqa: PLC0415  # a subcommand loads what it uses
    from onewafer.host import (  # noqa: PLC0415  # likewise
        Device,
        RunLimits,
        checking_of,
        folder_recorder,
    )

    image = load_image(folder)
    limits = RunLimits.from_settings(settings)
    return Device(
        image,
        load_architecture(image.arch, profile=profile),
        engine="reference",
        limits=limits,
        trace_files=files,
        recorder=folder_recorder(folder, settings, limits.observer.say),
        checking=checking_of(settings),
        is_reviewed=True,
        has_host=False,
    )


def _run_folder(device: Device, calls: list[tuple[str, list[int | float]]]) -> None:
    from onewafer.host import Interruption  # noqa: PLC0415  # likewise
    from onewafer.image import SymbolKind  # noqa: PLC0415  # likewise

    functions = [e.name for e in device.image.exports if e.kind is SymbolKind.FUNCTION]
    if functions and not calls:
        note = "only the start-up runs: no function is launched; --launch NAME runs one of"
        print(f"onewafer: {note} {', '.join(functions)}", file=sys.stderr)
    for name, numbers in calls:
        device.check_launch(name, *numbers)
    device.load()  # which begins the trace, in place of an earlier one
    try:
        device.settle()
        for name, numbers in calls:
            device.launch(name, *numbers)
        device.stop()
    except KeyboardInterrupt as error:
        place = Interruption.of(error)
        if place is None:
            raise
        typer.echo(f"\n{place}", err=True)
        raise typer.Exit(_INTERRUPTED) from None
    finally:
        device.end()
    if device.has_lost_trace:
        raise typer.Exit(TraceError.exit_code)


def _parse_launch(text: str) -> tuple[str, list[int | float]]:
    """Return name and arguments of a launch, written `name` or `name:1,2.5`."""
    name, colon, written = text.partition(":")
    try:
        numbers = [_parse_number(word) for word in written.split(",")] if colon else []
    except ValueError:
        raise ConfigurationError(
            f"--launch {text}: write the arguments as numbers, as in --launch {name}:1,2.5"
        ) from None
    return name, numbers


def _parse_number(text: str) -> int | float:
    try:
        return int(text, 0)
    except ValueError:
        return float(text)


def _convert(path: Path, files: list[Path]) -> None:
    from onewafer.host import convert_trace  # noqa: PLC0415  # a subcommand loads what it uses

    try:
        for line in convert_trace(path, files):
            print(printable(line), file=sys.stderr)
    except OSError as error:
        raise TraceError(f"{error.filename or path}: {error.strerror or error}") from error
