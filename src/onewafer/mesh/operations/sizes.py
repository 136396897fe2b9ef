"""Entries and sizes that operations on whole blocks have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.mesh.entry import Entry
from onewafer.mesh.program import Arena

if TYPE_CHECKING:
    from onewafer.mesh.entry import Kind
    from onewafer.mesh.program import Block


def block_entry(
    kind: Kind, result: Block, left: Block | None = None, right: Block | None = None, inner: int = 0
) -> Entry:
    """Return the entry of an operation that writes one block and reads up to two."""
    blocks = (result, left, right)
    return Entry(
        kind,
        result.offset,
        left.offset if left else 0,
        right.offset if right else 0,
        result.num_elements,
        result.rows,
        result.columns,
        inner,
        parameter_words=words_in(Arena.PARAMETERS, blocks),
        state_words=words_in(Arena.STATE, blocks),
    )


def words_in(arena: Arena, blocks: tuple[Block | None, ...]) -> tuple[int, ...]:
    """Return which words of an entry are offsets in an arena; `blocks` stand from word 1 on."""
    return tuple(
        word for word, block in enumerate(blocks, start=1) if block and block.arena is arena
    )


def block_sizes(block: Block) -> dict[str, int]:
    """Return the rows and columns of a block, and `elements`, its rows times columns."""
    return {"rows": block.rows, "columns": block.columns, "elements": block.num_elements}
