"""Gradients of keys and values that launches of one sequence carry from one to the other, in f32.

    ClearCarried ─▶ the backward pass of the last rows, of those before them, …, of the first rows

Where a launch has some rows of a sequence, its backward pass gives a part of the gradients of all
keys and values that it attends to. Those of earlier rows stay on the PEs, beside the cache, until
the launch of these rows, whose own part is the last one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.mesh.attention.arrays import split_slots
from onewafer.mesh.attention.gradients import ATTENTION_GRADIENT, OF_ATTENTION_GRADIENTS, SlotSums
from onewafer.mesh.kinds import Kind
from onewafer.mesh.operation import MeshOperation
from onewafer.mesh.recomputation.operations import KEPT
from onewafer.mesh.sizes import block_entry, block_sizes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from numpy.typing import NDArray

    from onewafer.mesh.attention.shape import AttentionShape
    from onewafer.mesh.attention.step import Column
    from onewafer.mesh.blocks import Block, Launch
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape

    Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class CarrySlots(SlotSums):
    """Sums over the rows of a launch and of those behind it."""

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

    shape: AttentionShape
    joint: Block
    factors: Block
    rows_of: Block
    carried: Block
    """In the arena of the state, the sums of all slots."""
    column: int

    def more(self) -> tuple[int | Block, ...]:
        """Return further words of the schedule."""
        return self.carried, self.column

    def begin(self, memories: Memories, column: Column) -> Array:
        """Return the sums that are carried."""
        sums = np.zeros((len(column.b), column.slots, self.shape.width), np.float32)
        for (_, block), kept in zip(
            column.heads.blocks(), self._carried(memories, column), strict=True
        ):
            sums[..., block] = kept[..., : column.slots, :]
        return sums

    def keep(self, memories: Memories, column: Column, sums: Array) -> None:
        """Carry the sums."""
        for (_, block), kept in zip(
            column.heads.blocks(), self._carried(memories, column), strict=True
        ):
            kept[..., : column.slots, :] = sums[..., block]

    def _carried(self, memories: Memories, column: Column) -> tuple[Array, ...]:
        shape = self.shape
        carried = column.of(memories.whole(self.carried), shape.axis)
        return split_slots(carried, column.heads, capacity=shape.capacity)


@dataclass(frozen=True, slots=True)
class ClearCarried(MeshOperation):
    """Set what is carried to +0."""

    kinds = (Kind(112, "clear_carried", "@fmovs(kept(result, n), 0.0);", functions=(KEPT,)),)

    carried: Block
    """In the arena of the state."""

    def entry(self, program: ProgramShape) -> Entry:
        """Return its words in the schedule."""
        return block_entry(program, self.kind, self.carried)

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        memories.whole(self.carried)[...] = 0

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        """Return the sizes that its cost depends on."""
        return block_sizes(program, self.carried, launch)
