"""Comptime evaluation: syntax compiled once to Python closures with resolved slots."""

from typing import Final

from onewafer.csl.sema.closures import calls, expressions, statements, type_expressions
from onewafer.csl.sema.closures.calls import call_function, run_block
from onewafer.csl.sema.closures.dispatch import compile_block as compile_statements
from onewafer.csl.sema.closures.dispatch import compile_expression, compile_type
from onewafer.csl.sema.closures.frame import Evaluate, Frame, Scope

MODULES: Final = (calls, expressions, statements, type_expressions)
"""The modules that register the rules for kinds of nodes."""

__all__ = [
    "MODULES",
    "Evaluate",
    "Frame",
    "Scope",
    "call_function",
    "compile_expression",
    "compile_statements",
    "compile_type",
    "run_block",
]
