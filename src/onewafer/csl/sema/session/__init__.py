"""The shared state of one analysis, and the numbers and ids that every stage asks it for."""

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
