"""Scopes of locals: the innermost block that contains all uses of a local.

In: the body of a function. Out: block → locals whose every mention is inside it. Locals of
blocks that never run together then share registers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl import ir
from onewafer.csl.ir import walk

if TYPE_CHECKING:
    from onewafer.csl.ir.walk import Block

Path = tuple[int, ...]
"""Identities (`id`) of the blocks around a mention, outermost first."""
Mentions = dict[int, list[ir.Local]]
"""Results of `_mentions` by the identity of the statement."""


def locals_of_blocks(function: ir.Function) -> dict[int, list[ir.Local]]:
    """Return `id(block)` → locals to allocate on entry, in order of their first mention.

    A local that may carry a value from one round of a loop to the next (it is not plainly set
    before it is used) lives in the block around all loops.
    """
    if not any(map(_needs_homes, walk.statements(function.body))):
        return {}
    paths: dict[ir.Local, Path] = {}
    mentions: Mentions = {}
    _find_paths(function.body, (id(function.body),), paths, mentions)
    set_first = _set_before_use(function.body, {}, mentions)
    repeated = _repeated_blocks(function.body)
    homes: dict[int, list[ir.Local]] = {}
    for local, path in paths.items():
        if local not in function.parameters:
            around = [block for block in path if block not in repeated]
            home = path[-1] if local in set_first.get(path[-1], set()) else around[-1]
            homes.setdefault(home, []).append(local)
    return homes


def _needs_homes(statement: ir.Statement) -> bool:
    """Tell whether a local other than a parameter may occur in a statement.

    Unreachable code after jumps may read a local that nothing sets any more.
    """
    return bool(walk.locals_set(statement)) or isinstance(statement, ir.TailCall)


def _repeated_blocks(body: Block) -> set[int]:
    """Return the blocks in loops, by identity."""
    loops = [s for s in walk.statements(body) if isinstance(s, ir.Loop | ir.Map)]
    return {
        id(block)
        for loop in loops
        for statement in walk.statements((loop,))
        for block in walk.blocks(statement)
    }


def _find_paths(block: Block, path: Path, paths: dict[ir.Local, Path], mentions: Mentions) -> None:
    for statement in block:
        mentioned = mentions[id(statement)] = _mentions(statement)
        for local in mentioned:
            paths[local] = _common(paths.get(local, path), path)
        for inner in walk.blocks(statement):
            _find_paths(inner, (*path, id(inner)), paths, mentions)


def _common(a: Path, b: Path) -> Path:
    length = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)
    return a[: min(len(a), len(b)) if length is None else length]


def _mentions(statement: ir.Statement) -> list[ir.Local]:
    """Return the locals that the statement itself reads or sets, not those of its blocks."""
    return [*walk.locals_read(*walk.roots(statement)), *walk.locals_set(statement)]


def _set_before_use(
    block: Block, found: dict[int, set[ir.Local]], mentions: Mentions
) -> dict[int, set[ir.Local]]:
    """Collect, for each block, the locals whose first mention in it is a `SetLocal` of its own."""
    mentioned: set[ir.Local] = set()
    set_first = found.setdefault(id(block), set())
    for statement in block:
        inside = [s for inner in walk.blocks(statement) for s in walk.statements(inner)]
        used = {local for s in (statement, *inside) for local in mentions[id(s)]}
        if (
            isinstance(statement, ir.SetLocal)
            and statement.local not in mentioned
            and statement.local not in walk.locals_read(statement.value)
        ):
            set_first.add(statement.local)
        mentioned |= used
        for inner in walk.blocks(statement):
            _set_before_use(inner, found, mentions)
    return found
