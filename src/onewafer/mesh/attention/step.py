"""The base of attention's steps: shape, schedule words, iteration over columns of PEs.

    Share ─▶ Append ─▶ Score (─▶ BiasScores) ─▶ ReduceScores, BroadcastScores along A ─▶ FindMaxima
    ─▶ ChainMax, Broadcast along B ─▶ Weigh ─▶ SumValues ─▶ ChainReduce, Broadcast along B ─▶ Divide

Where no block of features has parts of two heads, scores go no further than the PEs of their head.
The features of queries, keys and values lie along A, the positions of the cache along B. The
kernels and their mirrors are those of `arrays.py`.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from dataclasses import dataclass
from inspect import cleandoc
from textwrap import indent
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.mesh.attention import arrays
from onewafer.mesh.attention.shape import WORDS_OF_SLOT
from onewafer.mesh.blocks import Arena, Axis, Block, Launch
from onewafer.mesh.kinds import Beginning
from onewafer.mesh.operation import Classes, MeshOperation
from onewafer.mesh.sizes import block_entry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Self

    from numpy.typing import NDArray

    from onewafer.mesh.attention.shape import AttentionShape
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.kernel_costs import Size
    from onewafer.mesh.kinds import Kind
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape

    Array = NDArray[Any]


OF_ATTENTION = Beginning(
    "steps of attention",
    """
    // A table has: slots in use, the cache's place of row 0, slots of each row; then the heads.
    const numbers = table(words[8]);
    const heads = table(words[9]);
    const group = words[10];
    const width = words[11];
    const capacity = words[12];
    const num_heads = words[13];
    const most = words[14];
    const axis = words[15];
    const is_kept = words[16];
    const lengths = table(words[8] + 2);
    const slots = numbers[0];
    entry += 9;
    """,
)


OF_SLOTS = Beginning(
    "steps of attention, slot by slot",
    """
    // A table has: scores in use; then of each slot its first row, its rows, its first position,
    // the place of its sequence in the cache, its slots in use and the place of its scores; then
    // slots of each row; then the heads.
    const numbers = table(words[8]);
    const heads = table(words[9]);
    const group = words[10];
    const width = words[11];
    const capacity = words[12];
    const num_heads = words[13];
    const most = words[14];
    const axis = words[15];
    const slot_table = words[8] + 1;
    const length_table = slot_table + words_of_slot * model.num_sequences;
    entry += 9;
    """,
)
SLOT_TABLE = f"""
// Words of the table of an attention for each slot.
const words_of_slot = {WORDS_OF_SLOT};
"""


def each_slot(code: str) -> str:
    """Return CSL code that runs `code` for each slot of a launch."""
    body = indent(cleandoc(code), "  ")
    return f"""\
for (@range(u16, num_slots)) |index| {{
  const slot = table(slot_table + words_of_slot * index);
{body}
}}
"""


@dataclass(frozen=True, slots=True)
class Column:
    """The PEs at one place along A; their arrays are `[PEs along B, …]`."""

    a: int
    heads: arrays.LocalHeads
    b: Array
    """The places of these PEs along B."""
    lengths: Array
    """The slots that each row attends to, `[PEs along B, rows]`."""
    slots: int
    """The most slots that any PE of the program uses."""

    def of(self, values: Array, axis: Axis) -> Array:
        """Return a view of these PEs' part of an array `[height, width, …]`."""
        return values[:, self.a] if axis is Axis.X else values[self.a]


@dataclass(frozen=True, slots=True)
class AttentionStep(MeshOperation):
    """A step of attention.

    In a program that keeps several sequences, the step runs once for the rows of each slot of a
    launch, as if those rows were a launch, on that slot's part of the blocks.
    """

    shape: AttentionShape

    @property
    def kind(self) -> Kind:
        return self.kinds[-1 if self.shape.has_slots else 0]

    @abstractmethod
    def blocks(self) -> tuple[Block, ...]:
        """Return the blocks of the result and of up to two operands."""

    @property
    def is_kept(self) -> bool:
        """True if the step's keys and values stay from launch to launch."""
        cache: Block | None = getattr(self, "cache", None)
        return self.shape.is_causal if cache is None else cache.arena == Arena.STATE

    def more(self) -> tuple[int | Block, ...]:
        """Return the step's further words in the schedule."""
        return ()

    def entry(self, program: ProgramShape) -> Entry:
        more = (*self.shape.words, int(self.is_kept), *self.more())
        entry = block_entry(program, self.kind, *self.blocks(), more=more)
        return dataclasses.replace(entry, rows=0)  # not those of the result

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, Size]:
        return self.shape.sizes(program, launch)

    def classes(self, program: ProgramShape, launch: Launch) -> Classes:
        """Return the classes of PEs along the axis of the features."""
        del program, launch
        return self.shape.classes

    def execute(self, memories: Memories) -> None:
        """Compute the values of the kernel on NumPy arrays, slot by slot."""
        whole, shape, scores = memories.launch, self.shape, 0
        size = memories.program.size(shape.axis.other)
        for first, launch in whole.each_slot():
            (slot,) = launch.slots
            memories.launch = launch
            cache = slot.sequence * shape.cache_elements
            self._moved(rows=first, scores=scores, cache=cache).execute_slot(memories)
            scores += slot.rows * shape.score_heads * int(shape.slots(size, launch)[0])
        memories.launch = whole

    @abstractmethod
    def execute_slot(self, memories: Memories) -> None:
        """Compute the values of a launch of one slot."""

    def _moved(self, *, rows: int, scores: int, cache: int) -> Self:
        """Return the same step on blocks shifted by rows or elements."""
        elements = {"scores": scores, "cache": cache, "bias": 0}
        blocks = {
            item.name: dataclasses.replace(
                block, offset=block.offset + elements.get(item.name, rows * block.columns)
            )
            for item in dataclasses.fields(self)
            if isinstance(block := getattr(self, item.name), Block)
        }
        return dataclasses.replace(self, **blocks)

    def columns(self, memories: Memories) -> Iterator[Column]:
        """Yield the program's PEs column by column: those at one place along A together."""
        shape, launch = self.shape, memories.launch
        size = memories.program.size(shape.axis.other)
        b, first = np.arange(size), shape.first(launch)
        end = first + launch.num_rows
        reach, step = (first + 1, 1) if shape.is_causal else (end, 0)
        lengths = arrays.row_lengths(launch.num_rows, reach=reach, step=step, b=b, size=size)
        slots = int(arrays.num_slots(end, 0, size))
        for a in range(memories.program.size(shape.axis)):
            yield Column(a, shape.local_heads(a), b, lengths, slots)

    def split_cache(self, cache: Array, column: Column) -> tuple[Array, tuple[Array, ...]]:
        """Return views of the keys and of each local head's values."""
        shape = self.shape
        return arrays.split_cache(cache, column.heads, width=shape.width, capacity=shape.capacity)
