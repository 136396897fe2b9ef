"""Contract 5, a run → viewers: what every PE did, and what it ran, in one Parquet file.

`run` says what a recording holds, `parquet` how it lies in the file, `sources` where the texts of
the programs come from.
"""

from onewafer.recording.parquet import RecordingFile, require_arrow, write_recording
from onewafer.recording.run import (
    NOT_WAITING,
    SRAM_COLUMNS,
    WAVELET_COLUMNS,
    WINDOW_COUNTERS,
    WINDOW_PART,
    RecordedLaunch,
    RunHeader,
    Split,
    Tensor,
    Window,
    column_of_register,
    column_of_wait,
    column_of_window,
    ranges_of,
)
from onewafer.recording.sources import FindSource, SourceFiles, SourceTexts, read_sources

__all__ = [
    "NOT_WAITING",
    "SRAM_COLUMNS",
    "WAVELET_COLUMNS",
    "WINDOW_COUNTERS",
    "WINDOW_PART",
    "FindSource",
    "RecordedLaunch",
    "RecordingFile",
    "RunHeader",
    "SourceFiles",
    "SourceTexts",
    "Split",
    "Tensor",
    "Window",
    "column_of_register",
    "column_of_wait",
    "column_of_window",
    "ranges_of",
    "read_sources",
    "require_arrow",
    "write_recording",
]
