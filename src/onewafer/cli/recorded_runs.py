"""The recorded runs of a folder: the figures of each, as its header says them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.errors import RecordingError
from onewafer.units import to_seconds

if TYPE_CHECKING:
    from pathlib import Path

    from onewafer.recording import RunHeader

GOES_ON = "goes on"


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
    """Share of the script's matrix FLOP on the wafer, 0 to 1; None: not known."""
    ending: str
    """Why it did not end well, or `GOES_ON`; empty: it ended well."""

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
            ending=header.ending if header.is_over else GOES_ON,
        )


def read_runs(folder: Path) -> tuple[list[RecordedRun], list[Path]]:
    """Return the runs of a folder, the latest first, and its files that are no whole recordings."""
    from onewafer.recording import RecordingFile  # noqa: PLC0415  # a subcommand loads what it uses

    found: list[RecordedRun] = []
    others: list[Path] = []
    for file in sorted(folder.glob("*.parquet")):
        try:
            found.append(RecordedRun.of(file, RecordingFile(file).header))
        except RecordingError:
            others.append(file)
    return sorted(found, key=lambda run: (run.started, run.file), reverse=True), others
