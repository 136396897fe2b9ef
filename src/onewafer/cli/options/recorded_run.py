"""Options of commands that record a run."""

from __future__ import annotations

import os
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Annotated

import typer

from onewafer.cli.options.output_files import check_output
from onewafer.settings import require_recording

if TYPE_CHECKING:
    from collections.abc import Generator

    from onewafer.options import RecordOptions
    from onewafer.settings import Settings

LiveOption = Annotated[
    bool,
    typer.Option(
        "--live",
        help="Write the recording again and again meanwhile; `onewafer view FILE` follows it.",
    ),
]
ViewOption = Annotated[
    bool, typer.Option("--view", help="Record, and show the run as a page, which follows it.")
]


@contextmanager
def recorded(
    settings: Settings,
    recording: RecordOptions,
    *,
    is_live: bool = False,
    is_shown: bool = False,
) -> Generator[Settings]:
    """Yield the settings of a run and of its recording.

    A run that is shown is recorded while it goes on; if no file is named, into one for the page
    alone.

    Raises:
        ConfigurationError: the file cannot be written, or an option is about a recording that is
            not made.
    """
    file = check_output("--record", recording.record) or settings.record_file
    is_temporary = is_shown and file is None
    with _folder_of_page() if is_temporary else nullcontext() as folder:
        if folder is not None:
            file = folder / "run.parquet"
        require_recording(file, wanted=is_live, origin="--live")
        require_recording(file, wanted=recording.sample_every, origin="--sample-every")
        yield replace(
            settings,
            record_file=file,
            sample_every=recording.sample_every or settings.sample_every,
            is_live=is_live or is_shown or settings.is_live,
        )


@contextmanager
def _folder_of_page() -> Generator[Path]:
    """Yield a folder, and remove it; not in a child that a script forked, which has it, too."""
    folder, process_id = Path(mkdtemp(prefix="onewafer-view-")), os.getpid()
    try:
        yield folder
    finally:
        if os.getpid() == process_id:
            rmtree(folder, ignore_errors=True)
