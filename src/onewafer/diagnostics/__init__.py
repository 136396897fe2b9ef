"""Errors as data: what is wrong, where, and what to write instead."""

from onewafer.diagnostics.diagnostic import (
    Annotation,
    Diagnostic,
    DiagnosticSink,
    Severity,
    SourceFile,
    Span,
)

__all__ = ["Annotation", "Diagnostic", "DiagnosticSink", "Severity", "SourceFile", "Span"]
