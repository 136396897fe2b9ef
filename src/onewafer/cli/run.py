"""`onewafer run`: a PyTorch script with its inference on the simulated wafer."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from onewafer.api import Wafer, as_option, list_systems, open_session, require_torch, wafer_options
from onewafer.cli.options.output_files import check_output, write_output
from onewafer.cli.options.recorded_run import (
    LiveOption,
    RecordOption,
    SampleEveryOption,
    ViewOption,
    recorded,
)
from onewafer.cli.options.simulation_options import (
    EngineOption,
    MaxCyclesOption,
    ThreadsOption,
    read_settings,
)
from onewafer.cli.running.live_page import live_page
from onewafer.errors import ConfigurationError, OnewaferError, RecordingError

if TYPE_CHECKING:
    from onewafer.execution import WaferOptions
    from onewafer.settings import Settings

_FidelityOption = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="auto: the host's values, cycles from simulated launches and derived from them; "
        "fabric: simulate every wavelet; model: closed-form cycles.",
    ),
]
_BudgetOption = Annotated[
    str,
    typer.Option(
        metavar="PE-CYCLES",
        help="Cycles times PEs that fidelity auto may simulate, e.g. 10G; 0: none.",
    ),
]
_RectangleOption = Annotated[
    str | None,
    typer.Option(metavar="WxH", help="PEs to use [default: the fastest that fits]."),
]
_DtypeOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="f16 or f32 on the wafer [default: the model's]."),
]
_ClockOption = Annotated[
    str | None,
    typer.Option(metavar="HZ", help="E.g. 850MHz [default: the architecture's]."),
]
_ContextOption = Annotated[
    int,
    typer.Option(
        metavar="TOKENS",
        help="Most tokens of a sequence of a language model; fewer if the model has fewer "
        "positions, or memory no room for more.",
    ),
]
_RowsOption = Annotated[
    int,
    typer.Option(
        metavar="TOKENS",
        help="Most tokens of a sequence in one launch; a longer prompt takes several.",
    ),
]
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
_CslOption = Annotated[
    Path | None,
    typer.Option(
        "--csl",
        metavar="FOLDER",
        help="Write the CSL of every program into a new or empty folder.",
    ),
]
_ExplainOption = Annotated[
    bool,
    typer.Option("--explain-placement", help="Say why the rectangle, and how tensors lie."),
]
_DropoutOption = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Who draws what a dropout keeps in training: host, as PyTorch does, or wafer (with "
        "--fidelity fabric or model).",
    ),
]
_StrictOption = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="Stop if the wafer cannot run a module with parameters [default: the host runs it].",
    ),
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


def run(
    script: Annotated[Path, typer.Argument(metavar="SCRIPT", help="A PyTorch script.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="ARGUMENT", help="Passed on to the script."),
    ] = None,
    *,
    arch: Annotated[str, typer.Option(metavar="NAME", help="wse2, wse3 or toy.")] = "wse3",
    profile: Annotated[str, typer.Option(metavar="NAME", help="Timing: sdk or silicon.")] = "sdk",
    fidelity: _FidelityOption = "auto",
    simulate_budget: _BudgetOption = "250M",
    rectangle: _RectangleOption = None,
    dtype: _DtypeOption = None,
    clock: _ClockOption = None,
    max_batch: Annotated[int, typer.Option(metavar="ROWS", help="Most rows in one launch.")] = 64,
    context: _ContextOption = 1024,
    rows_per_launch: _RowsOption = 16,
    cuda_alias: _CudaAliasOption = None,
    dropout: _DropoutOption = "host",
    strict: _StrictOption = False,
    csl: _CslOption = None,
    engine: EngineOption = None,
    max_cycles: MaxCyclesOption = None,
    threads: ThreadsOption = None,
    against: _AgainstOption = None,
    json_file: _JsonOption = None,
    record: RecordOption = None,
    sample_every: SampleEveryOption = None,
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
    settings = read_settings(engine=engine, max_cycles=max_cycles, threads=threads, quiet=quiet)
    options = wafer_options(
        spelling=_as_flag,
        arch=arch,
        profile=profile,
        fidelity=fidelity,
        simulate_budget=simulate_budget,
        rectangle=rectangle,
        dtype=dtype,
        clock=clock,
        max_batch=max_batch,
        context=context,
        rows_per_launch=rows_per_launch,
        dropout=dropout,
        strict=strict,
        csl=csl,
        engine=settings.engine,
    )
    _say_wafer(arch, options)
    watched = recorded(settings, record, sample_every=sample_every, is_live=live, is_shown=view)
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
        systems = () if against is None else list_systems((), against, naming=as_option)
        return cls(check_output("--json", json_file), *flags, systems)


def _check_script(script: Path) -> None:
    """Raise ConfigurationError if there is none, or no torch, before seconds of loading."""
    if not script.exists():
        raise ConfigurationError(f"there is no script {script}")
    require_torch("`onewafer run`")


def _say_wafer(arch: str, options: WaferOptions) -> None:
    if options.arch != arch:
        typer.echo(f"onewafer: --arch {arch}: its wafer is simulated, {options.arch}", err=True)


def _run(
    script: Path,
    arguments: list[str],
    options: WaferOptions,
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
    recordings = wafer.finish_recordings()
    report, refusal = wafer.report, None
    if output.against:
        try:
            report = wafer.report_against(output.against)
        except OnewaferError as error:  # the report itself is shown nevertheless
            refusal = error
    try:
        if output.json_file is not None:
            write_output(output.json_file, to_json(report))
    finally:  # a full disk takes the file, not what was printed
        if not output.is_quiet:
            console.print(render(report, is_verbose=output.is_verbose))
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


def _as_flag(name: str, value: object) -> str:
    return f"{as_option(name)} {value}"


def _drop(text: str) -> None:
    del text
