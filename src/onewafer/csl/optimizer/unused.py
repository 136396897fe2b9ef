"""Dead code elimination: locals that nothing reads, and branches without effect.

In and out: the body of a function. A call stays, and so do the choices around it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onewafer.csl import ir
from onewafer.csl.ir import rewrite, walk

if TYPE_CHECKING:
    from onewafer.csl.ir.walk import Block


def drop_unused(body: Block) -> walk.Contents:
    """Return the body without statements that have no effect."""
    while True:
        contents = walk.Contents.of(body)
        inside, read = contents.statements, set(contents.readers)
        read |= {s.output.local for s in inside if isinstance(s, ir.Map) and s.output is not None}
        if not any(_may_go(statement, read) for statement in inside):
            return contents
        kept = _without(body, read)
        if kept is body:
            return contents
        body = kept


def _may_go(statement: ir.Statement, read: set[ir.Local]) -> bool:
    """Tell whether a statement may be removed: it only sets unread locals, or is empty."""
    match statement:
        case ir.SetLocal(local=local):
            return local not in read
        case ir.DsdStatement(result=ir.Local() as result):
            return result not in read
        case ir.If(then=then, otherwise=otherwise):
            return not (then or otherwise)
        case _:
            return False


def _without(block: Block, read: set[ir.Local]) -> Block:
    """Return the block without statements that only serve unread locals, or the block itself."""
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
