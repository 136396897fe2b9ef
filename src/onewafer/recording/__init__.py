"""Contract 5, a run → viewers: what every PE did, and what it ran, in one Parquet file.

`run` and `spans` say what a recording holds, `parquet` and `span_columns` how it lies in the file,
`sources` where the texts of the programs come from.
"""

from onewafer.recording.parquet import RecordingFile, load_arrow, require_arrow, write_recording
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
    file_of_program,
    ranges_of,
)
from onewafer.recording.sources import FindSource, SourceFiles, SourceTexts, read_sources
from onewafer.recording.span_columns import SPAN_COLUMNS
from onewafer.recording.spans import MAIN_THREAD, SPAN_KINDS, Spans, Words

__all__ = [
    "MAIN_THREAD",
    "NOT_WAITING",
    "SPAN_COLUMNS",
    "SPAN_KINDS",
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
    "Spans",
    "Split",
    "Tensor",
    "Window",
    "Words",
    "column_of_register",
    "column_of_wait",
    "column_of_window",
    "file_of_program",
    "load_arrow",
    "ranges_of",
    "read_sources",
    "require_arrow",
    "write_recording",
]
