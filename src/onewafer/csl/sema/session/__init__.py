"""The shared state of one analysis, with its numbers, options and checks of reserved ids."""

from onewafer.csl.sema.session.session import (
    LIBRARIES,
    MAX_CALL_DEPTH,
    AnalysisOptions,
    ParsedFiles,
    Session,
    SourceCode,
)

__all__ = [
    "LIBRARIES",
    "MAX_CALL_DEPTH",
    "AnalysisOptions",
    "ParsedFiles",
    "Session",
    "SourceCode",
]
