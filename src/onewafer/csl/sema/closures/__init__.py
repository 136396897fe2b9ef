"""Comptime evaluation: syntax compiled once to Python closures with resolved slots."""

from onewafer.csl.sema.closures.calls import call_function, run_block
from onewafer.csl.sema.closures.expressions import compile_expression, compile_type
from onewafer.csl.sema.closures.frame import Frame, Scope
from onewafer.csl.sema.closures.statements import compile_block as compile_statements

__all__ = [
    "Frame",
    "Scope",
    "call_function",
    "compile_expression",
    "compile_statements",
    "compile_type",
    "run_block",
]
