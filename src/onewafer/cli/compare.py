"""`onewafer compare`: one job of one model on wafers and on clusters of GPUs."""

from __future__ import annotations

from pathlib import Path  # Typer reads the annotation
from typing import TYPE_CHECKING, Annotated

import typer

from onewafer.api import as_option, compare_described, compare_options, list_systems
from onewafer.cli.options.output_files import check_output, write_output
from onewafer.errors import ConfigurationError
from onewafer.terminal import SHOWN_COLUMNS, progress_bar, stdout_console

if TYPE_CHECKING:
    from collections.abc import Sequence

_Model = Annotated[
    str | None,
    typer.Argument(metavar="MODEL", help="A name of the catalogue, or a PyTorch script."),
]
_Arguments = Annotated[
    list[str] | None,
    typer.Argument(metavar="ARGUMENT", help="Passed on to the script; its own options after --."),
]
_On = Annotated[str, typer.Option("--on", metavar="SYSTEMS", help="E.g. cs3 or cs3,cs3x4.")]
_Against = Annotated[str, typer.Option("--against", metavar="SYSTEMS", help="E.g. h100x8,b200x8.")]
_Decode = Annotated[
    bool,
    typer.Option("--decode", help="The next token of each sequence [default, if there is one]."),
]
_Prefill = Annotated[
    bool, typer.Option("--prefill", help="All tokens of the prompts, or one pass over samples.")
]
_Serve = Annotated[
    bool, typer.Option("--serve", help="Requests that keep coming: rate against latency.")
]
_Train = Annotated[bool, typer.Option("--train", help="A training run from scratch.")]
_Batch = Annotated[
    int | None,
    typer.Option(metavar="N", help="Sequences or samples together; with --train, of a step."),
]
_Context = Annotated[
    int | None, typer.Option(metavar="N", help="With --decode, --prefill: tokens of a sequence.")
]
_Concurrency = Annotated[
    int | None,
    typer.Option(metavar="N", help="With --serve: requests at a time [default: a curve]."),
]
_Prompt = Annotated[int | None, typer.Option(metavar="N", help="With --serve: tokens of a prompt.")]
_Answer = Annotated[
    int | None, typer.Option(metavar="N", help="With --serve: tokens of an answer.")
]
_Tokens = Annotated[
    float | None, typer.Option(metavar="N", help="With --train: of the run, e.g. 15e12.")
]
_Sequence = Annotated[
    int | None, typer.Option(metavar="N", help="With --train: tokens of a sequence.")
]
_Precision = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="On GPUs: bf16, fp16, fp8, fp4, mxfp4 (of experts only) or fp32."
    ),
]
_WaferPrecision = Annotated[
    str, typer.Option(metavar="NAME", help="On wafers: fp16, bf16 or fp32.")
]
_Goal = Annotated[str, typer.Option(metavar="NAME", help="Of the search: latency or throughput.")]
_Clock = Annotated[
    str | None, typer.Option(metavar="HZ", help="Of the wafer, e.g. 1.1GHz [default: usual].")
]
_Profile = Annotated[str, typer.Option(metavar="NAME", help="Timing of the wafer: silicon or sdk.")]
_Density = Annotated[
    float, typer.Option(metavar="SHARE", help="Of the wafer's weights that are not zero.")
]
_Mode = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Of the wafer: whole, pipeline or streaming."),
]
_Region = Annotated[str | None, typer.Option(metavar="WxH", help="PEs of a layer on the wafer.")]
_Engine = Annotated[
    str, typer.Option(metavar="NAME", help="Serving engine on GPUs: trtllm, vllm or sglang.")
]
_Plan = Annotated[
    str | None, typer.Option(metavar="PLAN", help="Parallelism on GPUs, e.g. tp4pp2.")
]
_GpuProfile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Kernels measured by `onewafer calibrate gpu`."),
]
_Price = Annotated[
    list[str] | None,
    typer.Option(metavar="DEVICE=AMOUNT", help="Of a device an hour; may be repeated."),
]
_JsonFile = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write everything as JSON.")
]
_Plot = Annotated[
    Path | None, typer.Option("--plot", metavar="FILE", help="Draw it: .png, .svg or .pdf.")
]
_List = Annotated[bool, typer.Option("--list", help="Name models and systems, end.")]


def compare(
    model: _Model = None,
    arguments: _Arguments = None,
    *,
    on: _On = "cs3",
    against: _Against = "h100x8",
    decode: _Decode = False,
    prefill: _Prefill = False,
    serve: _Serve = False,
    train: _Train = False,
    batch: _Batch = None,
    context: _Context = None,
    concurrency: _Concurrency = None,
    prompt: _Prompt = None,
    answer: _Answer = None,
    tokens: _Tokens = None,
    sequence: _Sequence = None,
    precision: _Precision = "bf16",
    wafer_precision: _WaferPrecision = "fp16",
    goal: _Goal = "latency",
    clock: _Clock = None,
    profile: _Profile = "silicon",
    density: _Density = 1.0,
    mode: _Mode = None,
    region: _Region = None,
    engine: _Engine = "trtllm",
    plan: _Plan = None,
    gpu_profile: _GpuProfile = None,
    price: _Price = None,
    json_file: _JsonFile = None,
    plot: _Plot = None,
    list_: _List = False,
) -> None:
    """Ask what a model takes on wafers and on clusters of GPUs: time, energy, memory, and why.

    Figures come from equations, each compared with what was measured or published (`onewafer
    validate perf`); where a figure of the same job was published, it stands beside ours.
    """
    from onewafer.api.compare_job import Numbers, check_numbers  # noqa: PLC0415  # a subcommand loads what it uses
    from onewafer.api.models import load_model  # noqa: PLC0415  # likewise
    from onewafer.cli.options.compare_options import choose_kind, parse_prices  # noqa: PLC0415  # likewise

    if list_:
        _print_list()
        return
    kind = choose_kind(decode=decode, prefill=prefill, serve=serve, train=train)
    is_named = decode or prefill or serve or train
    numbers = Numbers(
        batch=batch,
        context=context,
        concurrency=concurrency,
        prompt=prompt,
        answer=answer,
        tokens=tokens,
        sequence=sequence,
    )
    check_numbers(kind, numbers, as_option)
    if model is None:
        raise ConfigurationError("name a model (--list shows all) or a PyTorch script")
    json_file, plot = check_output("--json", json_file), _check_plot(plot)
    if json_file is not None and json_file == plot:
        raise ConfigurationError(f"--json and --plot are one file, {plot}; name two")
    options = compare_options(
        precision=precision,
        wafer_precision=wafer_precision,
        goal=goal,
        clock=clock,
        profile=profile,
        density=density,
        mode=mode,
        region=region,
        engine=engine,
        plan=plan,
        gpu_profile=gpu_profile,
        prices=parse_prices(price or []),
        naming=as_option,
    )
    systems = list_systems(on, against, naming=as_option)
    _say_systems_of_wafers(systems)
    with progress_bar() as bar:
        described = load_model(model, bar.say, arguments or ())
        named = kind if is_named else None
        comparison = compare_described(
            described, named, numbers, systems, options, bar=bar, naming=as_option
        )
    stdout_console(SHOWN_COLUMNS).print(comparison)
    if json_file is not None:
        write_output(json_file, comparison.to_json())
    if plot is not None:
        comparison.draw(plot)
    if not comparison.answers:
        raise typer.Exit(1)


def _say_systems_of_wafers(names: Sequence[str]) -> None:
    from onewafer.perf.wafer import parse_system  # noqa: PLC0415  # when it is used

    for name in names:
        if (wafers := parse_system(name)) is not None and wafers.name != name:
            typer.echo(
                f"onewafer: {name}: the system around it is compared, {wafers.name}", err=True
            )


def _check_plot(plot: Path | None) -> Path | None:
    if plot is not None:
        from onewafer.perf.report import check_picture  # noqa: PLC0415  # when it is used

        check_picture(plot)
    return check_output("--plot", plot)


def _print_list() -> None:
    from onewafer.arch import gpu_names  # noqa: PLC0415  # when it is used
    from onewafer.perf import known_models  # noqa: PLC0415  # likewise
    from onewafer.perf.wafer import system_names  # noqa: PLC0415  # likewise

    width = max(len(name) for name in known_models())
    for entry in known_models().values():
        typer.echo(f"{entry.name:{width}}  {entry.published_weights:>6} weights  {entry.title}")
    typer.echo(f"wafers: {', '.join(system_names())}; GPUs: {', '.join(gpu_names())}")
