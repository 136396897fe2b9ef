"""Schedule entries and sizes of operations on whole blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.graph import DataType
from onewafer.mesh.blocks import Arena, Block
from onewafer.mesh.entry import ENTRY_WORDS, Entry

if TYPE_CHECKING:
    from onewafer.mesh.blocks import Launch
    from onewafer.mesh.kinds import Kind
    from onewafer.mesh.program_shape import ProgramShape


def block_entry(
    program: ProgramShape,
    kind: Kind,
    result: Block,
    left: Block | None = None,
    right: Block | None = None,
    *,
    n: int | None = None,
    columns: int | None = None,
    inner: int = 0,
    more: tuple[int | Block, ...] = (),
) -> Entry:
    """Return the entry of an operation that writes one block and reads up to two.

    `n` and `columns` are by default those of the result. `more` are further words; a block stands
    for its offset. Offsets of parameters, their gradients and the state move with the rounds of a
    repetition.
    """
    rows = program.rows_of(result).value
    arenas = [block and block.arena for block in (None, result, left, right)]
    if more:
        arenas += [None] * (ENTRY_WORDS - len(arenas))
        arenas += [item.arena if isinstance(item, Block) else None for item in more]
    return Entry(
        kind,
        result.offset,
        left.offset if left else 0,
        right.offset if right else 0,
        result.num_elements if n is None else n,
        result.rows if rows is None else rows,
        result.columns if columns is None else columns,
        inner,
        tuple(item if isinstance(item, int) else item.offset for item in more),
        parameter_words=_words_in((Arena.PARAMETERS, Arena.GRADIENTS), arenas),
        state_words=_words_in((Arena.STATE,), arenas),
    )


def in_type(operation: str, dtype: DataType) -> str:
    """Return the name of a DSD operation on elements of a type.

    >>> in_type("fadd", DataType.F16)
    'faddh'
    """
    return f"{operation}{'h' if dtype is DataType.F16 else 's'}"


def _words_in(some: tuple[Arena, ...], arenas: list[Arena | None]) -> tuple[int, ...]:
    """Return the indices of an entry's words that are offsets in some arenas."""
    if not any(arena in arenas for arena in some):
        return ()
    return tuple([word for word, one in enumerate(arenas) if one in some])


def block_sizes(program: ProgramShape, block: Block, launch: Launch) -> dict[str, int]:
    """Return the rows and columns of a block, and `elements`, their product."""
    rows = program.num_rows(block, launch)
    return {"rows": rows, "columns": block.columns, "elements": rows * block.columns}


CHUNK = 64
"""The number of elements that `functions.csl` computes at a time."""
MOST_STRIDE = 127
"""The largest stride of a DSD in the kernels, in elements."""


def with_chunks(sizes: dict[str, int]) -> dict[str, int]:
    """Add `chunks`, in which the kernel computes `elements`, and `chunk`, the elements of each.

    All chunks but the last are full; equal lengths are a close approximation.
    """
    chunks = -(-sizes["elements"] // CHUNK)
    return {**sizes, "chunks": chunks, "chunk": -(-sizes["elements"] // max(chunks, 1))}


def with_row_chunks(sizes: dict[str, int]) -> dict[str, int]:
    """Add `chunks`, in which each row is computed, and `chunk`, the columns of each."""
    chunks = -(-sizes["columns"] // CHUNK)
    return {**sizes, "chunks": chunks, "chunk": -(-sizes["columns"] // chunks)}
