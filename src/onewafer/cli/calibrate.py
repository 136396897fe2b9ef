"""`onewafer calibrate`: measure the machine at hand for the equations of `onewafer compare`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path  # noqa: TC003  # Typer reads the annotation
from typing import Annotated

import typer

from onewafer.cli.options.output_files import check_output, write_output
from onewafer.errors import ConfigurationError
from onewafer.terminal import progress_bar

calibrate = typer.Typer(
    name="calibrate",
    help="Measure the machine at hand for `onewafer compare`.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@calibrate.callback()
def _keep_subcommands() -> None:
    """Measure the machine at hand for `onewafer compare`."""


@calibrate.command()
def gpu(
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where the profile goes (JSON).")
    ],
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="E.g. cuda:1 [default: the first GPU].")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few sizes, to see that all works.")
    ] = False,
) -> None:
    """Measure matrix products, attention, copies and launches of a GPU with PyTorch.

    `onewafer compare --gpu-profile FILE` then uses these measurements of kernels in place of the
    published ones of that GPU.
    """
    target = check_output("--output", output)
    assert target is not None, "it was named"
    if find_spec("torch") is None:
        raise ConfigurationError(
            "PyTorch measures, and it is not installed: pip install 'onewafer[torch]'"
        )
    from onewafer.perf.gpu import profile_to_json  # noqa: PLC0415  # a subcommand loads what it uses
    from onewafer.pytorch.calibration import (  # noqa: PLC0415  # likewise
        FULL,
        QUICK,
        find_device,
        measure_gpu,
    )

    found = find_device(device)
    with progress_bar() as bar:

        def show(what: str, done: int, total: int) -> None:
            bar.say(what)
            bar.show(done, total)

        profile = measure_gpu(found, QUICK if quick else FULL, progress=show)
    write_output(target, profile_to_json(profile))
    print(
        f"{profile.device}: copies {profile.copy_bytes_per_second / 1e9:,.0f} GB/s, launches "
        f"{profile.launch_seconds * 1e6:.1f} µs, "
        f"{sum(len(points.seconds) for points in profile.products.values()):,} products; "
        f"written to {output}"
    )
