"""The nodes of a syntax tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from onewafer.csl.syntax import ast

if TYPE_CHECKING:
    from collections.abc import Iterator


def nodes(node: object) -> Iterator[ast.Node]:
    """Yield a node of the syntax tree and all below it."""
    match node:
        case tuple():
            for part in cast("tuple[object, ...]", node):
                yield from nodes(part)
        case ast.Node():
            yield node
            for cls in type(node).__mro__:
                for name in getattr(cls, "__slots__", ()):
                    if name != "span":
                        yield from nodes(getattr(node, name))
        case _:
            return
