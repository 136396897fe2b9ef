"""Options of commands that record a run, and the page that shows it afterwards."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from onewafer.cli.output_files import check_output
from onewafer.settings import require_recording

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from onewafer.settings import Settings

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
        help="Record over time, too: the recording has a window for each N cycles.",
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
def recorded(
    settings: Settings,
    record: Path | None,
    *,
    sample_every: int | None,
    is_live: bool = False,
    is_shown: bool = False,
) -> Generator[Settings]:
    """Yield the settings of a run, with what its options say of its recording.

    A run that is shown, and for which no file is named, is recorded into one for the page alone.

    Raises:
        ConfigurationError: the file cannot be written, or an option is about a recording that is
            not made.
    """
    file = check_output("--record", record) or settings.record_file
    require_recording(file, wanted=is_live, origin="--live")  # that of a page has no known name
    is_temporary = is_shown and file is None
    prefix = "onewafer-view-"
    with TemporaryDirectory(prefix=prefix) if is_temporary else nullcontext() as folder:
        if folder is not None:
            file = Path(folder, "run.parquet")
        require_recording(file, wanted=sample_every, origin="--sample-every")
        yield replace(
            settings,
            record_file=file,
            sample_every=sample_every or settings.sample_every,
            is_live=is_live or settings.is_live,
        )


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
