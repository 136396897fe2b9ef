"""The nodes of a syntax tree."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, cast

from onewafer.csl.syntax import ast

if TYPE_CHECKING:
    from collections.abc import Iterator


def nodes(node: object) -> Iterator[ast.Node]:
    """Yield a node of the syntax tree and all below it, parents first."""
    pending = [node]
    while pending:
        part = pending.pop()
        match part:
            case ast.Node():
                yield part
                pending += [getattr(part, name) for name in _parts(type(part))]
            case tuple():
                pending += reversed(cast("tuple[object, ...]", part))
            case _:
                pass


@cache
def _parts(cls: type[ast.Node]) -> tuple[str, ...]:
    """Return the fields of a node that may hold nodes, the last one first."""
    slots = [name for base in cls.__mro__ for name in getattr(base, "__slots__", ())]
    return tuple(name for name in reversed(slots) if name != "span")
