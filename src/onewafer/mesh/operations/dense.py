"""Operations that lead from one axis to the other; an all-reduce makes their results whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.graph import DataType
from onewafer.mesh import arithmetic
from onewafer.mesh.banks import row_banks
from onewafer.mesh.entry import Kind
from onewafer.mesh.operations.operation import (
    NO_CONFLICTS,
    Classes,
    Conflicts,
    MeshOperation,
)
from onewafer.mesh.operations.sizes import block_entry, block_sizes
from onewafer.mesh.program import Axis

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from onewafer.mesh.entry import Entry
    from onewafer.mesh.kernel_costs import Size
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program import Block, Launch, MeshProgram


@dataclass(frozen=True, slots=True)
class Matmul(MeshOperation):
    """Multiply local blocks: `result[r, c] = Σₖ input[r, k] · weight[k, c]`, a partial sum.

    The sum starts at +0 and takes k in ascending order, one rounding a term: `@fmacs` in f32; in
    f16 the exact product of two f16 is added to an f32 sum (`@fmachs`). Columns that pad the last
    blocks are +0 and never computed, so that an infinity in a row cannot make them NaN.
    """

    result: Block
    input: Block
    weight: Block
    axis: Axis
    """Over which the columns of the result are blocked."""
    features: int
    """Columns of the result over all PEs, without padding."""

    @property
    def kind(self) -> Kind:
        """What the state machine knows it as."""
        return Kind.MATMUL_X if self.axis is Axis.X else Kind.MATMUL_Y

    def entry(self, program: MeshProgram) -> Entry:
        """Return its words in the schedule."""
        padding = program.size(self.axis) * self.result.columns - self.features
        blocks = self.result, self.input, self.weight
        return block_entry(program, self.kind, *blocks, n=padding, inner=self.weight.rows)

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        operand = memories.matrix(self.input).astype(np.float32)
        weight = memories.matrix(self.weight).astype(np.float32)
        sums = np.zeros((*operand.shape[:3], self.result.columns), np.float32)
        for k in range(self.weight.rows):
            column, row = operand[..., k, np.newaxis], weight[..., np.newaxis, k, :]
            if memories.is_half:  # the product of two f16 is exact in f32
                sums = arithmetic.add(sums, arithmetic.multiply(column, row))
            else:
                sums = arithmetic.fused_multiply_add(sums, column, row)
        first = memories.at(self.axis)[..., np.newaxis, np.newaxis] * self.result.columns
        is_feature = first + np.arange(self.result.columns) < self.features
        memories.write(self.result, np.where(is_feature, sums, np.float32(0.0)))

    def sizes(self, program: MeshProgram, launch: Launch) -> Mapping[str, Size]:
        """Return the sizes that its cost depends on.

        A PE whose columns are not all padding is `filled`; it is `cut` if some are, and `absent`
        says how many.
        """
        missing, _ = self._padding(program)
        is_filled = missing < self.result.columns
        absent = missing * is_filled
        by_class = {"filled": is_filled, "cut": absent > 0, "absent": absent}
        sizes: dict[str, Size] = {
            name: values.astype(np.int64)[np.newaxis, :, np.newaxis]
            for name, values in by_class.items()
        }
        return {**block_sizes(program, self.result, launch), "inner": self.weight.rows, **sizes}

    def classes(self, program: MeshProgram, launch: Launch) -> Classes:
        """Return how the PEs along its axis differ: by padding."""
        del launch
        return self._padding(program)[1]

    def _padding(self, program: MeshProgram) -> tuple[NDArray[np.int64], Classes]:
        """Return how many columns of its block are padding, by class of PE."""
        columns = self.result.columns
        ends = columns * np.arange(1, program.size(self.axis) + 1)
        return Classes.of(self.axis, np.clip(ends - self.features, 0, columns))

    def conflicts(self, program: MeshProgram, launch: Launch) -> Conflicts:
        """Count the multiply-adds, one for every row of the result and of the weight.

        In f16, the two sources advance differently.
        """
        if program.dtype is DataType.F16:
            return NO_CONFLICTS
        sums = row_banks(self.result, program.num_rows(self.result, launch), program.dtype)
        weights = row_banks(self.weight, self.weight.rows, program.dtype)
        count = sum(count * weights[bank] for bank, count in sums.items())
        filled = self.sizes(program, launch)["filled"]
        return Conflicts(count * filled, "fmacs", self.result.columns)


@dataclass(frozen=True, slots=True)
class Turn(MeshOperation):
    """Copy what a PE's input, blocked over one axis, shares with its result, blocked over `axis`.

    With columns wᵣ and wᵢ a block, the PE at p along `axis` and q along the other holds features
    p·wᵣ … of the result and q·wᵢ … of the input. What the input lacks becomes −0 in the f32
    result, the value that changes no other (+0 would make −0 of +0): each feature is at exactly one
    q, so a sum along the input's axis gives the tensor itself, every zero with its sign.
    """

    result: Block
    input: Block
    axis: Axis
    """The axis of the result."""

    @property
    def kind(self) -> Kind:
        """What the state machine knows it as."""
        return Kind.TURN_X if self.axis is Axis.X else Kind.TURN_Y

    def entry(self, program: MeshProgram) -> Entry:
        """Return its words in the schedule."""
        return block_entry(program, self.kind, self.result, self.input, inner=self.input.columns)

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        source = memories.matrix(self.input).astype(np.float32)
        to = memories.at(self.axis)[..., np.newaxis]
        along = memories.at(self.axis.other)[..., np.newaxis]
        columns = self.result.columns
        index = to * columns + np.arange(columns) - along * self.input.columns
        index = index[:, :, np.newaxis]
        is_held = (index >= 0) & (index < self.input.columns)
        held = np.take_along_axis(source, np.where(is_held, index, 0), axis=-1)
        memories.write(self.result, np.where(is_held, held, np.float32(-0.0)))

    def sizes(self, program: MeshProgram, launch: Launch) -> Mapping[str, int]:
        """Return the sizes that its cost depends on.

        A row of what the blocks share is at most as long as the shorter of theirs.
        """
        shared = min(self.result.columns, self.input.columns)
        return {**block_sizes(program, self.result, launch), "shared": shared}
