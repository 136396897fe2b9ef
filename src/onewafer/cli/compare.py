"""`onewafer compare`: one job of one model on wafers and on clusters of GPUs."""

from __future__ import annotations

from pathlib import Path  # Typer reads the annotation
from typing import TYPE_CHECKING, Annotated

import typer

from onewafer.api import (
    JobOptions,
    MappingOptions,
    Numbers,
    SystemOptions,
    compare_described,
    equations,
    list_systems,
)
from onewafer.cli.options.compare_options import choose_kind, parse_prices
from onewafer.cli.options.flags import with_flags
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


@with_flags
def compare(
    model: _Model = None,
    arguments: _Arguments = None,
    *,
    machines: SystemOptions,
    decode: _Decode = False,
    prefill: _Prefill = False,
    serve: _Serve = False,
    train: _Train = False,
    numbers: Numbers,
    mapping: MappingOptions,
    price: _Price = None,
    json_file: _JsonFile = None,
    plot: _Plot = None,
    list_: _List = False,
) -> None:
    """Ask what a model takes on wafers and on clusters of GPUs: time, energy, memory, and why.

    Figures come from equations, each compared with what was measured or published (`onewafer
    validate perf`); where a figure of the same job was published, it stands beside ours.
    """
    from onewafer.api.models import load_model  # noqa: PLC0415  # a subcommand loads what it uses

    if list_:
        _print_list()
        return
    kind = choose_kind(decode=decode, prefill=prefill, serve=serve, train=train)
    job = JobOptions(job=kind, **vars(numbers))
    if model is None:
        raise ConfigurationError("name a model (--list shows all) or a PyTorch script")
    json_file, plot = check_output("--json", json_file), _check_plot(plot)
    if json_file is not None and json_file == plot:
        raise ConfigurationError(f"--json and --plot are one file, {plot}; name two")
    options = equations(mapping, parse_prices(price or []))
    systems = list_systems(machines.on, machines.against)
    _say_systems_of_wafers(systems)
    with progress_bar() as bar:
        described = load_model(model, bar.say, arguments or ())
        comparison = compare_described(described, job, systems, options, bar=bar)
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
    from onewafer.arch import gpu_names, wafer_system_names  # noqa: PLC0415  # when it is used
    from onewafer.perf import known_models  # noqa: PLC0415  # likewise

    width = max(len(name) for name in known_models())
    for entry in known_models().values():
        typer.echo(f"{entry.name:{width}}  {entry.published_weights:>6} weights  {entry.title}")
    typer.echo(f"wafers: {', '.join(wafer_system_names())}; GPUs: {', '.join(gpu_names())}")
