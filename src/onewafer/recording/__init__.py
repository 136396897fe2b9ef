"""Contract 5, a run → viewers: what every PE did, and what it ran, in one Parquet file.

`run` says what a recording holds, `parquet` how it lies in the file, `sources` where the texts of
the programs come from.
"""

from onewafer.recording.parquet import RecordingFile, require_arrow, write_recording
from onewafer.recording.run import (
    NOT_WAITING,
    SRAM_COLUMNS,
    WAVELET_COLUMNS,
    RecordedLaunch,
    RunHeader,
    Split,
    Tensor,
    column_of_wait,
    ranges_of,
)
from onewafer.recording.sources import FindSource, SourceFiles, SourceTexts, read_sources

__all__ = [
    "NOT_WAITING",
    "SRAM_COLUMNS",
    "WAVELET_COLUMNS",
    "FindSource",
    "RecordedLaunch",
    "RecordingFile",
    "RunHeader",
    "SourceFiles",
    "SourceTexts",
    "Split",
    "Tensor",
    "column_of_wait",
    "ranges_of",
    "read_sources",
    "require_arrow",
    "write_recording",
]
