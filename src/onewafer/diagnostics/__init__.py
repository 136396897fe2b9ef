"""Errors as data: what is wrong, where, and what to write instead."""

from onewafer.diagnostics.codes import CODES
from onewafer.diagnostics.diagnostic import (
    Annotation,
    Diagnostic,
    DiagnosticSink,
    Severity,
    SourceFile,
    Span,
)
from onewafer.diagnostics.render import render, to_json

__all__ = [
    "CODES",
    "Annotation",
    "Diagnostic",
    "DiagnosticSink",
    "Severity",
    "SourceFile",
    "Span",
    "render",
    "to_json",
]
