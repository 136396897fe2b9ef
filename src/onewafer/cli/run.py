"""`onewafer run`: a PyTorch script with its inference on the simulated wafer."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onewafer.cli.output_files import check_output, write_output
from onewafer.cli.simulation_options import (
    EngineOption,
    MaxCyclesOption,
    ThreadsOption,
    read_settings,
)
from onewafer.errors import ConfigurationError
from onewafer.geometry import parse_size
from onewafer.units import parse_hertz

if TYPE_CHECKING:
    from onewafer.pytorch import WaferOptions
    from onewafer.settings import Settings

_FidelityOption = Annotated[
    str,
    typer.Option(metavar="NAME", help="fabric: simulate every wavelet; model: closed-form cycles."),
]
_JsonOption = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the report as JSON.")
]
_ExplainOption = Annotated[
    bool,
    typer.Option("--explain-placement", help="Say why the rectangle, and how tensors lie."),
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


def run(
    script: Annotated[Path, typer.Argument(metavar="SCRIPT", help="A PyTorch script.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="ARGUMENT", help="Passed on to the script."),
    ] = None,
    *,
    arch: Annotated[str, typer.Option(metavar="NAME", help="wse2, wse3 or toy.")] = "wse3",
    profile: Annotated[str, typer.Option(metavar="NAME", help="Timing: sdk or silicon.")] = "sdk",
    fidelity: _FidelityOption = "fabric",
    rectangle: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="PEs to use [default: the fastest that fits]."),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="f16 or f32 on the wafer [default: the model's]."),
    ] = None,
    clock: Annotated[
        str | None,
        typer.Option(metavar="HZ", help="E.g. 850MHz [default: the architecture's]."),
    ] = None,
    max_batch: Annotated[int, typer.Option(metavar="ROWS", help="Most rows in one launch.")] = 64,
    cuda_alias: _CudaAliasOption = None,
    strict: _StrictOption = False,
    engine: EngineOption = None,
    max_cycles: MaxCyclesOption = None,
    threads: ThreadsOption = None,
    json_file: _JsonOption = None,
    explain_placement: _ExplainOption = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Report every place and nested call.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No report and no progress line.")
    ] = False,
) -> None:
    """Run a PyTorch script; module calls that need no gradient run on a simulated wafer.

    Options come before the script, everything after it belongs to the script. The script's own
    output is untouched; the report goes to stderr after it. The exit code is the script's.
    """
    if not script.exists():  # said at once: to load torch takes seconds
        raise ConfigurationError(f"there is no script {script}")
    json_file = check_output("--json", json_file)
    settings = read_settings(engine=engine, max_cycles=max_cycles, threads=threads, quiet=quiet)
    _require_torch()
    options = _wafer_options(
        arch=arch,
        profile=profile,
        fidelity=fidelity,
        rectangle=rectangle,
        dtype=dtype,
        clock=clock,
        max_batch=max_batch,
        strict=strict,
        engine=settings.engine,
    )
    output = _Output(json_file, explain_placement, verbose, quiet)
    code = _run(script, arguments or [], options, settings, cuda_alias=cuda_alias, output=output)
    raise typer.Exit(code)


@dataclass(frozen=True, slots=True)
class _Output:
    """What to say about a run, and where."""

    json_file: Path | None
    explains_placement: bool
    is_verbose: bool
    is_quiet: bool


def _wafer_options(
    *,
    arch: str,
    profile: str,
    fidelity: str,
    rectangle: str | None,
    dtype: str | None,
    clock: str | None,
    max_batch: int,
    strict: bool,
    engine: str,
) -> WaferOptions:
    from onewafer.pytorch import WaferOptions  # noqa: PLC0415  # torch is loaded only when needed
    from onewafer.pytorch.options import (  # noqa: PLC0415  # likewise
        parse_dtype,
        parse_fidelity,
    )

    return WaferOptions(
        arch=arch,
        profile=profile,
        fidelity=parse_fidelity(fidelity),
        rectangle=None if rectangle is None else parse_size(rectangle),
        dtype=None if dtype is None else parse_dtype(dtype),
        clock_hertz=None if clock is None else parse_hertz(clock),
        max_batch=max_batch,
        strict=strict,
        engine=engine,
    )


def _run(
    script: Path,
    arguments: list[str],
    options: WaferOptions,
    settings: Settings,
    *,
    cuda_alias: bool | None,
    output: _Output,
) -> int:
    from onewafer.host import RunLimits  # noqa: PLC0415  # a subcommand loads what it uses
    from onewafer.pytorch import (  # noqa: PLC0415  # likewise
        ProgressLine,
        Session,
        build_report,
        render,
        render_placement,
        run_script,
        to_json,
    )
    from onewafer.pytorch.cuda import CudaAlias  # noqa: PLC0415  # likewise
    from onewafer.terminal.console import PlainConsole  # noqa: PLC0415  # likewise

    console = PlainConsole(stderr=True)
    line = ProgressLine(console) if console.is_terminal and settings.shows_progress else None
    limits = RunLimits.from_settings(settings)
    if line is not None:
        limits = replace(limits, observer=line.sentences)
    session = Session(options, observer=line, limits=limits)
    announce = _drop if output.is_quiet else _print_notice
    result = run_script(
        script, arguments, session, cuda=CudaAlias.choose(flag=cuda_alias), announce=announce
    )
    with suppress(OSError, ValueError):  # closed; Python itself says so at exit
        sys.stdout.flush()
    report = build_report(session.ledger, ended=result.ended, is_over=result.ended is None)
    if output.json_file is not None:
        write_output(output.json_file, to_json(report))
    if not output.is_quiet:
        console.print(render(report, is_verbose=output.is_verbose))
    if output.explains_placement:
        console.print(render_placement(report))
    if result.error is not None:
        raise result.error
    return result.exit_code


def _print_notice(text: str) -> None:
    print(f"onewafer: {text}", file=sys.stderr)


def _drop(text: str) -> None:
    del text


def _require_torch() -> None:
    if find_spec("torch") is None:
        raise ConfigurationError(
            "`onewafer run` needs PyTorch, which is not installed: pip install 'onewafer[torch]'"
        )
