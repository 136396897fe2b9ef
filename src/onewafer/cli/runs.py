"""`onewafer runs`: the recorded runs of a folder, with their figures."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onewafer.errors import ConfigurationError, RecordingError
from onewafer.terminal import printable
from onewafer.units import format_seconds, to_seconds

if TYPE_CHECKING:
    from onewafer.recording import RunHeader

_HERE = Path()


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """The figures of a recorded run."""

    file: str
    script: str
    """With its arguments; without a script, the title of the run."""
    started: str
    """Date and time in UTC, ISO 8601; empty: not known."""
    commit: str
    arch: str
    width: int
    height: int
    cycles: int
    seconds: float
    flop_share: float | None
    """Share of the script's FLOP on the wafer, 0 to 1; None: not known."""
    ending: str
    """Why it did not end well, or that it goes on; empty: it ended well."""

    @classmethod
    def of(cls, file: Path, header: RunHeader) -> RecordedRun:
        """Return the figures in the header of a recording."""
        made = header.provenance
        return cls(
            file=str(file),
            script=" ".join((made.script, *made.arguments)) if made.script else header.title,
            started=made.started,
            commit=made.commit,
            arch=header.arch,
            width=header.width,
            height=header.height,
            cycles=header.cycles,
            seconds=to_seconds(header.cycles, clock_hertz=header.clock_hertz),
            flop_share=header.flop_share,
            ending=header.ending if header.is_over else "goes on",
        )


def runs(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where recordings are: --record FILE's.")
    ] = _HERE,
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the runs as JSON, one object a run.")
    ] = False,
) -> None:
    """List the recorded runs of a folder, the latest first; other Parquet files are left out.

    `onewafer view A B` compares two of them.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"{folder}: no such folder; runs are recorded by --record FILE")
    found = sorted(_read(folder), key=lambda run: (run.started, run.file), reverse=True)
    if as_json:
        typer.echo(json.dumps([asdict(run) for run in found], indent=2))
    elif found:
        _show(found)
    else:
        typer.echo(f"{folder} has no recorded run; onewafer run --record FILE.parquet makes one")


def _read(folder: Path) -> list[RecordedRun]:
    """Return the runs of a folder; a file that is damaged, or no recording, is none."""
    from onewafer.recording import RecordingFile  # noqa: PLC0415  # a subcommand loads what it uses

    found: list[RecordedRun] = []
    for file in sorted(folder.glob("*.parquet")):
        try:
            found.append(RecordedRun.of(file, RecordingFile(file).header))
        except RecordingError:
            continue
    return found


def _show(found: list[RecordedRun]) -> None:
    from rich.table import Table  # noqa: PLC0415  # likewise
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
