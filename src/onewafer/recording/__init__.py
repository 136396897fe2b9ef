"""Contract 5, a run → viewers: the counters of every PE and its program, in one Parquet file.

`run` and `spans` define the contents, `parquet` and `list_columns` the file, `sources` finds the
programs' texts.
"""

from onewafer.recording.list_columns import MOVE_COLUMNS, SPAN_COLUMNS
from onewafer.recording.parquet import RecordingFile, load_arrow, require_arrow, write_recording
from onewafer.recording.provenance import Provenance, read_provenance
from onewafer.recording.run import (
    NOT_WAITING,
    SRAM_COLUMNS,
    WAVELET_COLUMNS,
    WINDOW_COUNTERS,
    WINDOW_STEP,
    LaunchReport,
    Operation,
    RunHeader,
    Split,
    Tensor,
    Window,
    column_of_register,
    column_of_step,
    column_of_wait,
    column_of_window,
    file_of_program,
    ranges_of,
)
from onewafer.recording.sources import FindSource, SourceFiles, SourceTexts, read_sources
from onewafer.recording.spans import MAIN_THREAD, SPAN_KINDS, Moves, Spans, Words

__all__ = [
    "MAIN_THREAD",
    "MOVE_COLUMNS",
    "NOT_WAITING",
    "SPAN_COLUMNS",
    "SPAN_KINDS",
    "SRAM_COLUMNS",
    "WAVELET_COLUMNS",
    "WINDOW_COUNTERS",
    "WINDOW_STEP",
    "FindSource",
    "LaunchReport",
    "Moves",
    "Operation",
    "Provenance",
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
    "column_of_step",
    "column_of_wait",
    "column_of_window",
    "file_of_program",
    "load_arrow",
    "ranges_of",
    "read_provenance",
    "read_sources",
    "require_arrow",
    "write_recording",
]
