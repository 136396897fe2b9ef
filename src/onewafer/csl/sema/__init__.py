"""Semantic analysis: comptime evaluation, types, builtins, instances. Trees in, typed IR out."""

from onewafer.csl.sema.analysis import analyze_program
from onewafer.csl.sema.builtins.catalog import builtin_names
from onewafer.csl.sema.instances import explain_instances
from onewafer.csl.sema.session import MAX_CALL_DEPTH, AnalysisOptions, ParsedFiles

__all__ = [
    "MAX_CALL_DEPTH",
    "AnalysisOptions",
    "ParsedFiles",
    "analyze_program",
    "builtin_names",
    "explain_instances",
]
