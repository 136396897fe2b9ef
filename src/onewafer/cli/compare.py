"""`onewafer compare`: one job of one model on wafers and on clusters of GPUs."""

from __future__ import annotations

from functools import partial
from itertools import count
from pathlib import Path  # Typer reads the annotation
from typing import TYPE_CHECKING, Annotated

import typer

from onewafer.cli.output_files import check_output, write_output
from onewafer.errors import ConfigurationError
from onewafer.garbage import rare_collection
from onewafer.geometry import parse_size
from onewafer.terminal import progress_bar
from onewafer.units import parse_hertz

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.perf import CompareOptions, Comparison, Job, Model
    from onewafer.terminal import ProgressBar


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
    from onewafer.cli.compare_job import (  # noqa: PLC0415  # a subcommand loads what it uses
        Numbers,
        build_jobs,
        check_numbers,
        choose_kind,
        parse_prices,
        split_systems,
        usual_kind,
    )
    from onewafer.cli.models import load_model  # noqa: PLC0415  # likewise

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
    check_numbers(kind, numbers)
    if model is None:
        raise ConfigurationError("name a model (--list shows all) or a PyTorch script")
    json_file, plot = check_output("--json", json_file), _check_plot(plot)
    if json_file is not None and json_file == plot:
        raise ConfigurationError(f"--json and --plot are one file, {plot}; name two")
    options = _options(
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
    )
    systems = split_systems(on, against)
    _check_systems(systems)
    with progress_bar() as bar:
        described = load_model(model, bar.say, arguments or ())
        kind = kind if is_named else usual_kind(described)
        jobs = build_jobs(kind, numbers, described)
        with rare_collection():
            comparisons = _compare(described, jobs, systems, options, bar)
    _show(comparisons)
    _write(comparisons, json_file=json_file, plot=plot)
    if not any(comparison.answers for comparison in comparisons):
        raise typer.Exit(1)


def _options(
    *,
    precision: str,
    wafer_precision: str,
    goal: str,
    clock: str | None,
    profile: str,
    density: float,
    mode: str | None,
    region: str | None,
    engine: str,
    plan: str | None,
    gpu_profile: Path | None,
    prices: dict[str, float],
) -> CompareOptions:
    from onewafer.cli.compare_job import choose  # noqa: PLC0415  # when it is used
    from onewafer.perf import CompareOptions, Goal, Precision  # noqa: PLC0415  # likewise
    from onewafer.perf.gpu import GpuOptions, read_profile  # noqa: PLC0415  # likewise
    from onewafer.perf.groups import parse_groups  # noqa: PLC0415  # likewise
    from onewafer.perf.wafer import Mode, WaferOptions  # noqa: PLC0415  # likewise

    modes = {chosen.name.lower(): chosen for chosen in Mode}
    named = {chosen.value: chosen for chosen in Precision}
    goals = {chosen.value: chosen for chosen in Goal}
    return CompareOptions(
        wafer=WaferOptions(
            precision=choose("--wafer-precision", wafer_precision, named),
            profile=profile,
            clock_hertz=None if clock is None else parse_hertz(clock),
            density=density,
            mode=None if mode is None else choose("--mode", mode, modes),
            region=None if region is None else parse_size(region),
            goal=choose("--goal", goal, goals),
        ),
        gpu=GpuOptions(
            precision=choose("--precision", precision, named),
            engine=engine,
            goal=choose("--goal", goal, goals),
            profile=None if gpu_profile is None else read_profile(gpu_profile),
        ),
        groups=None if plan is None else parse_groups(plan),
        prices=prices,
    )


def _check_systems(systems: Sequence[str]) -> None:
    """Refuse unknown names before a model is captured."""
    from onewafer.perf import device_of  # noqa: PLC0415  # when it is used

    if not systems:
        raise ConfigurationError("no system is named; write --on cs3 --against h100x8")
    for system in systems:
        device_of(system)


def _check_plot(plot: Path | None) -> Path | None:
    if plot is not None:
        from onewafer.perf.report import check_picture  # noqa: PLC0415  # when it is used

        check_picture(plot)
    return check_output("--plot", plot)


def _compare(
    model: Model,
    jobs: Sequence[Job],
    systems: Sequence[str],
    options: CompareOptions,
    bar: ProgressBar,
) -> list[Comparison]:
    from onewafer.perf import compare as compare_one  # noqa: PLC0415  # when it is used
    from onewafer.perf.report import describe  # noqa: PLC0415  # likewise
    from onewafer.perf.wafer import Programs  # noqa: PLC0415  # likewise

    steps, programs = count(), Programs()
    num_steps = len(jobs) * len(systems)

    def begin(job: Job, system: str) -> None:
        bar.show(next(steps), num_steps)
        bar.say(f"{model.name} on {system}: {describe(job)}")

    return [
        compare_one(model, job, systems, options, progress=partial(begin, job), programs=programs)
        for job in jobs
    ]


def _show(comparisons: Sequence[Comparison]) -> None:
    from onewafer.perf.report import (  # noqa: PLC0415  # when it is used
        TABLE_COLUMNS,
        render,
        render_curve,
    )
    from onewafer.terminal import stdout_console  # noqa: PLC0415  # likewise

    console = stdout_console(TABLE_COLUMNS)
    is_one = len(comparisons) == 1
    console.print(render(comparisons[0]) if is_one else render_curve(comparisons))


def _write(comparisons: Sequence[Comparison], *, json_file: Path | None, plot: Path | None) -> None:
    from onewafer.perf.report import draw, draw_curve, to_json  # noqa: PLC0415  # when it is used

    if json_file is not None:
        write_output(json_file, to_json(*comparisons))
    if plot is None:
        return
    if len(comparisons) == 1:
        draw(comparisons[0], plot)
    else:
        draw_curve(comparisons, plot)


def _print_list() -> None:
    from onewafer.arch import gpu_names  # noqa: PLC0415  # when it is used
    from onewafer.perf import known_models  # noqa: PLC0415  # likewise
    from onewafer.perf.wafer import system_names  # noqa: PLC0415  # likewise

    width = max(len(name) for name in known_models())
    for entry in known_models().values():
        typer.echo(f"{entry.name:{width}}  {entry.published_weights:>6} weights  {entry.title}")
    typer.echo(f"wafers: {', '.join(system_names())}; GPUs: {', '.join(gpu_names())}")
