"""`onewafer runs`: the recorded runs of a folder, with their figures."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from onewafer.cli.recorded_runs import RecordedRun, read_runs
from onewafer.cli.run_trackers import Tracker, export_runs
from onewafer.errors import ConfigurationError
from onewafer.terminal import printable, quoted
from onewafer.units import format_seconds

_HERE = Path()


def runs(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where recordings are: --record FILE's.")
    ] = _HERE,
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the runs as JSON, one object a run.")
    ] = False,
    export: Annotated[
        Tracker | None,
        typer.Option(help="Write the runs for MLflow or W&B, too, by the client installed here."),
    ] = None,
) -> None:
    """List the recorded runs of a folder, the latest first; other Parquet files are left out.

    `onewafer view A B` compares two of them.
    """
    if not folder.is_dir():
        what = "that is a file; name its folder" if folder.exists() else "no such folder"
        raise ConfigurationError(f"{folder}: {what}; runs are recorded by --record FILE")
    found, others = read_runs(folder)
    if others:
        names = quoted(", ".join(file.name for file in others))
        typer.echo(f"onewafer: no whole recordings, left out: {names}", err=True)
    if export is not None:
        typer.echo(f"onewafer: {export_runs(found, export)}", err=True)
    if as_json:
        typer.echo(json.dumps([asdict(run) for run in found], indent=2))
    elif found:
        _show(found)
    else:
        typer.echo(f"{folder} has no recorded run; onewafer run --record FILE.parquet makes one")


def _show(found: list[RecordedRun]) -> None:
    from rich.table import Table  # noqa: PLC0415  # a subcommand loads what it uses
    from rich.text import Text  # noqa: PLC0415

    from onewafer.terminal.console import stdout_console  # noqa: PLC0415

    table = Table()
    for title in ("file", "script", "started (UTC)", "commit", "PEs", "cycles", "time", "FLOP"):
        table.add_column(title, justify="right" if title in _NUMBERS else "left", overflow="fold")
    for run in found:
        share = "" if run.flop_share is None else f"{int(1000 * run.flop_share) / 10:.1f}%"
        ending = f" ({run.ending})" if run.ending else ""
        cells = (
            Path(run.file).name,
            run.script + ending,
            run.started.replace("T", " ").removesuffix("Z"),
            run.commit,
            f"{run.width}×{run.height} {run.arch}",
            f"{run.cycles:,}",
            format_seconds(run.seconds),
            share,
        )
        table.add_row(*(Text(printable(cell)) for cell in cells))
    stdout_console(120).print(table)


_NUMBERS = frozenset(("cycles", "time", "FLOP"))
