"""Options of commands that record a run, and the page that shows it afterwards."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from onewafer.cli.output_files import check_output

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

RecordOption = Annotated[
    Path | None,
    typer.Option(
        "--record",
        metavar="FILE",
        help="Write what every PE did, for `onewafer view FILE`; Parquet, a file a program.",
    ),
]
SampleEveryOption = Annotated[
    int | None,
    typer.Option(
        "--sample-every",
        metavar="N",
        min=1,
        help="Record over time, too: a window each N cycles, for --record and --view.",
    ),
]
LiveOption = Annotated[
    bool,
    typer.Option(
        "--live",
        help="Write the recording again and again meanwhile; `onewafer view FILE` follows it.",
    ),
]
ViewOption = Annotated[
    bool, typer.Option("--view", help="Record, and show the run as a page at its end.")
]


@contextmanager
def recording_file(record: Path | None, *, is_shown: bool) -> Generator[Path | None]:
    """Yield where a run is recorded: the file that was named, or one for the page alone.

    Raises:
        ConfigurationError: it cannot be written.
    """
    named = check_output("--record", record)
    if named is not None or not is_shown:
        yield named
        return
    with TemporaryDirectory(prefix="onewafer-view-") as folder:
        yield Path(folder, "run.parquet")


def show_longest(files: Sequence[Path]) -> None:
    """Serve the page of the recording with most PE-cycles until a signal.

    Raises:
        ConfigurationError: a package is missing.
    """
    from onewafer.cli.view import show  # noqa: PLC0415  # a subcommand loads what it uses
    from onewafer.recording import RecordingFile  # noqa: PLC0415  # likewise

    recordings = map(RecordingFile, files)
    longest = max(recordings, key=lambda found: found.header.num_pes * found.header.cycles)
    show(longest, port=0, opens_browser=False)
