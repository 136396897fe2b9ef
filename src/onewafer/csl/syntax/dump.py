"""The syntax tree as text: one S-expression a declaration, for tests and for debugging."""

from __future__ import annotations

from dataclasses import fields
from enum import Enum
from typing import TYPE_CHECKING

from onewafer.csl.syntax import ast

if TYPE_CHECKING:
    from collections.abc import Sequence

_PLACES = frozenset({"span", "name_span"})


def dump(tree: ast.File | ast.Node) -> str:
    """Return the tree without its places, a line for each top-level declaration.

    Names and literals stand for themselves, every other node is `(Class part …)`; absent parts are
    `-` and lists are in brackets.
    """
    if isinstance(tree, ast.File):
        return "\n".join(_text(declaration) for declaration in tree.declarations)
    return _text(tree)


def _text(part: object) -> str:
    match part:
        case ast.Name():
            return part.name
        case ast.IntegerLiteral() | ast.FloatLiteral() | ast.BoolLiteral():
            return str(part.value)
        case ast.StringLiteral():
            return repr(part.value)
        case ast.Node():
            return _node(part)
        case tuple():
            return _list(part)  # pyright: ignore[reportUnknownArgumentType]  # of parts
        case None:
            return "-"
        case Enum():
            return str(part.value)
        case _:
            return str(part)


def _node(node: ast.Node) -> str:
    parts = [_text(getattr(node, f.name)) for f in fields(node) if f.name not in _PLACES]
    while parts and parts[-1] in {"-", "False", "default"}:
        parts.pop()
    return f"({' '.join([type(node).__name__, *parts])})"


def _list(parts: Sequence[object]) -> str:
    return f"[{' '.join(_text(part) for part in parts)}]"
