"""Copies of rows that are kept from the forward pass for the backward pass, layer by layer.

They are in the arena of the state, whose offset moves with the rounds of a schedule, forwards or
backwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer import graph
from onewafer.mesh.blocks import Arena
from onewafer.mesh.cost_case import OF_ONE, CostCase
from onewafer.mesh.gradients.operations import with_rows_of
from onewafer.mesh.kinds import Kind
from onewafer.mesh.lowering.lowering import AlikeLowering, Lowerings
from onewafer.mesh.operation import MeshOperation
from onewafer.mesh.sizes import block_entry, block_sizes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.mesh.blocks import Block, Launch
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape

KEPT = """
// Rows that are kept for a backward pass.
inline fn kept(offset: u16, n: u16) mem1d_dsd {
  const all = @get_dsd(mem1d_dsd, .{ .base_address = &model.state, .extent = 1 });
  return @increment_dsd_offset(@set_dsd_length(all, n), @as(i16, state_offset + offset), f32);
}
"""


@dataclass(frozen=True, slots=True)
class Keep(MeshOperation):
    """Copy rows into the state."""

    kinds = (Kind(110, "keep", "@fmovs(kept(result, n), activation(left, n));", functions=(KEPT,)),)

    kept: Block
    """A block in the arena of the state."""
    rows: Block

    def entry(self, program: ProgramShape) -> Entry:
        return with_rows_of(
            self.rows, block_entry(program, self.kind, self.kept, self.rows), program
        )

    def execute(self, memories: Memories) -> None:
        memories.write(self.kept, memories.read(self.rows))

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        return block_sizes(program, self.rows, launch)


@dataclass(frozen=True, slots=True)
class Recall(MeshOperation):
    """Copy kept rows back."""

    kinds = (
        Kind(111, "recall", "@fmovs(activation(result, n), kept(left, n));", functions=(KEPT,)),
    )

    result: Block
    kept: Block
    """A block in the arena of the state."""

    def entry(self, program: ProgramShape) -> Entry:
        return block_entry(program, self.kind, self.result, self.kept)

    def execute(self, memories: Memories) -> None:
        size = memories.num_rows(self.result) * self.result.columns
        memories.write(self.result, memories.view(self.kept, size))

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        return block_sizes(program, self.result, launch)


class KeepLowering(AlikeLowering[graph.Keep]):
    """Copy rows locally."""

    def lower(self, operation: graph.Keep, builder: Builder) -> None:
        rows = builder.blocks[operation.input]
        kept = builder.place_state(rows.rows, rows.columns)
        builder.blocks[operation.result.name] = kept
        builder.append(Keep(kept, rows))


class RecallLowering(AlikeLowering[graph.Recall]):
    """Copy rows back locally."""

    def lower(self, operation: graph.Recall, builder: Builder) -> None:
        kept = builder.blocks[operation.input]
        builder.append(Recall(builder.allocate(operation.result), kept))


LOWERINGS: Lowerings = {graph.Keep: KeepLowering(), graph.Recall: RecallLowering()}
COST_CASES = (
    CostCase(
        lambda sizes: Keep(sizes.block(Arena.STATE), sizes.block()),
        lengths=("elements",),
        is_of_singles=True,
        rows=OF_ONE,
    ),
    CostCase(
        lambda sizes: Recall(sizes.block(), sizes.block(Arena.STATE)),
        lengths=("elements",),
        is_of_singles=True,
        rows=OF_ONE,
    ),
)
