"""Remove locals that nothing reads, and choices without effect.

In and out: the body of a function. A call stays, and so do the choices around it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onewafer.csl import ir, rewrite, walk

if TYPE_CHECKING:
    from onewafer.csl.walk import Block


def drop_unused(body: Block) -> Block:
    """Return the body without statements that have no effect."""
    if not any(walk.sets_local(s) or isinstance(s, ir.If) for s in walk.statements(body)):
        return body
    while True:
        read = {
            local
            for statement in walk.statements(body)
            for local in walk.locals_read(*walk.roots(statement))
        }
        read |= {
            statement.output.local
            for statement in walk.statements(body)
            if isinstance(statement, ir.Map) and statement.output is not None
        }
        kept = _without(body, read)
        if kept is body:
            return body
        body = kept


def _without(block: Block, read: set[ir.Local]) -> Block:
    """Return the block without what only serves locals that are not read; it itself, if all is."""
    kept: list[ir.Statement] = []
    for statement in block:
        changed = rewrite.with_blocks(statement, lambda inner: _without(inner, read))
        match changed:
            case ir.SetLocal(local=local, value=value) if local not in read:
                if walk.has_effect(value):
                    kept.append(changed)
            case ir.DsdStatement(result=ir.Local() as result) if result not in read:
                kept.append(replace(changed, result=None))
            case ir.If(condition=choice, then=(), otherwise=()) if not walk.has_effect(choice):
                pass
            case _:
                kept.append(changed)
    return block if kept == [*block] else tuple(kept)
