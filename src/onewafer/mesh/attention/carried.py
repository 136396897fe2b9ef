"""Gradients of keys and values that one launch of a sequence passes to the next, in f32.

ClearCarried ─▶ the backward pass of the last rows, of the rows before, …, of the first rows

Where a launch has some rows of a sequence, its backward pass gives a part of the gradients of all
keys and values that it attends to. Those of earlier rows stay on the PEs, beside the cache, until
the launch of these rows, whose own part is the last one.
The cache itself keeps the forward pass's order; a backward pass transposes that of its layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.mesh.attention.arrays import split_slots, turn
from onewafer.mesh.attention.cache import KV_APPEND
from onewafer.mesh.attention.gradients import ATTENTION_GRADIENT, OF_ATTENTION_GRADIENTS, SlotSums
from onewafer.mesh.attention.step import AttentionStep
from onewafer.mesh.kinds import Kind
from onewafer.mesh.operation import MeshOperation
from onewafer.mesh.recomputation.operations import KEPT
from onewafer.mesh.sizes import MOST_STRIDE, block_entry, block_sizes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from numpy.typing import NDArray

    from onewafer.mesh.attention.step import Column
    from onewafer.mesh.blocks import Block, Launch
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.kernel_costs import Size
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape

    Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class CarrySlots(SlotSums):
    """Sum gradients of keys and values over the rows of this launch, and add the carried ones."""

    kinds = (
        Kind(
            176,
            "carry_slots",
            """
            attention_gradient.carry_rows(activation(result, 1), activation(left, 1),
                                          activation(right, 1), cache(words[17], 1), words[18],
                                          heads, lengths, numbers[1], rows, slots, num_heads,
                                          group, width, capacity, place(1 - axis),
                                          size(1 - axis));
            entry += 2;
            """,
            (ATTENTION_GRADIENT,),
            beginning=OF_ATTENTION_GRADIENTS,
        ),
    )

    joint: Block
    factors: Block
    rows_of: Block
    carried: Block
    """The sums of all slots, in the arena of the state."""
    column: int

    def more(self) -> tuple[int | Block, ...]:
        return self.carried, self.column

    def begin(self, memories: Memories, column: Column) -> Array:
        """Return the carried sums."""
        sums = np.zeros((len(column.b), column.slots, self.shape.width), np.float32)
        for (_, block), kept in zip(
            column.heads.blocks(), self._carried(memories, column), strict=True
        ):
            sums[..., block] = kept[..., : column.slots, :]
        return sums

    def keep(self, memories: Memories, column: Column, sums: Array) -> None:
        """Store the sums in the carried block."""
        for (_, block), kept in zip(
            column.heads.blocks(), self._carried(memories, column), strict=True
        ):
            kept[..., : column.slots, :] = sums[..., block]

    def _carried(self, memories: Memories, column: Column) -> tuple[Array, ...]:
        shape = self.shape
        carried = column.of(memories.whole(self.carried), shape.axis)
        return split_slots(carried, column.heads, capacity=shape.capacity)


@dataclass(frozen=True, slots=True)
class TransposeCache(AttentionStep):
    """Copy a sequence's cache with keys and values swapped, for one backward pass."""

    kinds = (
        Kind(
            179,
            "turn",
            """
            kv_append.turn(activation(result, 1), cache(left, is_kept), heads, slots, width,
                           capacity);
            """,
            (KV_APPEND,),
            beginning=OF_ATTENTION_GRADIENTS,
        ),
    )

    transposed: Block
    cache: Block

    def blocks(self) -> tuple[Block, ...]:
        return self.transposed, self.cache

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, Size]:
        """Return the sizes that the cost depends on: `near` features are copied with a stride."""
        sizes = self.shape.sizes(program, launch)
        near = (np.asarray(sizes["share"]) <= MOST_STRIDE).astype(np.int64)
        return {**sizes, "near": near, "far": 1 - near}

    def execute_slot(self, memories: Memories) -> None:
        shape = self.shape
        transposed, cache = memories.whole(self.transposed), memories.whole(self.cache)
        for column in self.columns(memories):
            turn(
                column.of(transposed, shape.axis),
                column.of(cache, shape.axis),
                column.heads,
                width=shape.width,
                capacity=shape.capacity,
                slots=column.slots,
            )


@dataclass(frozen=True, slots=True)
class ClearCarried(MeshOperation):
    """Set the carried gradients to +0."""

    kinds = (Kind(112, "clear_carried", "@fmovs(kept(result, n), 0.0);", functions=(KEPT,)),)

    carried: Block
    """A block in the arena of the state."""

    def entry(self, program: ProgramShape) -> Entry:
        return block_entry(program, self.kind, self.carried)

    def execute(self, memories: Memories) -> None:
        memories.whole(self.carried)[...] = 0

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        return block_sizes(program, self.carried, launch)
