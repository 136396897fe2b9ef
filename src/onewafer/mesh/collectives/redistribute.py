"""Local operations around collectives: shares of a result before one, rounding of sums after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.mesh import arithmetic
from onewafer.mesh.kinds import ELEMENT, Kind, Module, along_axes
from onewafer.mesh.operation import MeshOperation
from onewafer.mesh.sizes import block_entry, block_sizes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.mesh.blocks import Axis, Block, Launch
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape


@dataclass(frozen=True, slots=True)
class Redistribute(MeshOperation):
    """Copy what a PE's input, blocked over one axis, shares with its result, blocked over `axis`.

    With columns wᵣ and wᵢ a block, the PE at p along `axis` and q along the other holds features
    p·wᵣ … of the result and q·wᵢ … of the input. What the input lacks becomes −0 in the f32
    result, the value that changes no other (+0 would make −0 of +0): each feature is at exactly one
    q, so a sum along the input's axis gives the tensor itself, every zero with its sign.
    """

    kinds = along_axes(
        Kind(
            9,
            "redistribute",
            """
            const x = place_x();
            const y = place_y();
            redistribute.run(sums(result, n), activation(left, inner), rows, columns, inner,
                             $axis, $across);
            """,
            (Module("redistribute", ELEMENT),),
        ),
        10,
    )

    result: Block
    input: Block
    axis: Axis
    """The axis of the result."""

    @property
    def kind(self) -> Kind:
        """The kind of this operation in the schedule."""
        return self.kinds[self.axis.number]

    def entry(self, program: ProgramShape) -> Entry:
        """Return the operation's words in the schedule."""
        return block_entry(program, self.kind, self.result, self.input, inner=self.input.columns)

    def execute(self, memories: Memories) -> None:
        """Compute on NumPy arrays the values of the kernel."""
        source = memories.matrix(self.input).astype(np.float32)
        to = memories.at(self.axis)[..., np.newaxis]
        along = memories.at(self.axis.other)[..., np.newaxis]
        columns = self.result.columns
        index = to * columns + np.arange(columns) - along * self.input.columns
        index = index[:, :, np.newaxis]
        is_held = (index >= 0) & (index < self.input.columns)
        held = np.take_along_axis(source, np.where(is_held, index, 0), axis=-1)
        memories.write(self.result, np.where(is_held, held, np.float32(-0.0)))

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        """Return the sizes that the operation's cost depends on.

        The shared part of a row is at most as long as the shorter row.
        """
        shared = min(self.result.columns, self.input.columns)
        return {**block_sizes(program, self.result, launch), "shared": shared}


@dataclass(frozen=True, slots=True)
class Convert(MeshOperation):
    """Round f32 sums to f16, to nearest even."""

    kinds = (
        Kind(
            13,
            "convert",
            "convert.run(activation(result, n), sums(left, n));",
            (Module("convert"),),
        ),
    )

    result: Block
    input: Block

    def entry(self, program: ProgramShape) -> Entry:
        """Return the operation's words in the schedule."""
        return block_entry(program, self.kind, self.result, self.input)

    def execute(self, memories: Memories) -> None:
        """Compute on NumPy arrays the values of the kernel."""
        memories.write(self.result, arithmetic.round_to_half(memories.read(self.input)))

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        """Return the sizes that the operation's cost depends on."""
        return block_sizes(program, self.result, launch)
