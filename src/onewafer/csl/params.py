"""Params of a CSL file by their written types, for generated layouts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl.driver import ParsedFiles
from onewafer.csl.sema import types as t
from onewafer.csl.syntax import ast
from onewafer.diagnostics import DiagnosticSink

if TYPE_CHECKING:
    from onewafer.csl.driver import SourceFiles


def integer_params(files: SourceFiles, path: str) -> frozenset[str]:
    """Return the params of a file that are declared with an integer type.

    A file that cannot be read or parsed has none: its compilation reports the error.
    """
    tree = ParsedFiles(files, DiagnosticSink()).get(path)
    return frozenset(
        declaration.name
        for declaration in (tree.declarations if tree else ())
        if isinstance(declaration, ast.Param) and _is_integer(declaration.type)
    )


def _is_integer(node: ast.Expression | None) -> bool:
    return isinstance(node, ast.Name) and t.any_width(node.name) is not None
