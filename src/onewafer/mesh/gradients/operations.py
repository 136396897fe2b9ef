"""Local steps of backward passes, in f32; gradients of parameters accumulate in place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from onewafer.mesh import arithmetic
from onewafer.mesh.banks import row_banks
from onewafer.mesh.blocks import Launch
from onewafer.mesh.dense import Matmul
from onewafer.mesh.functions import FUNCTIONS
from onewafer.mesh.kinds import ELEMENT, NUM_PRESENT, Kind, Module, along_axes
from onewafer.mesh.operation import AlongAxis, Conflicts, MeshOperation
from onewafer.mesh.sizes import MOST_STRIDE, block_entry, block_sizes, with_chunks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.mesh.blocks import Axis, Block
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.kernel_costs import Size
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.operation import Classes
    from onewafer.mesh.program_shape import ProgramShape

GRADIENT = """
// Elements of the gradients of parameters, which lie as the parameters do.
inline fn gradient(offset: u16, n: u16) mem1d_dsd {
  const all = @get_dsd(mem1d_dsd, .{ .base_address = &model.gradients, .extent = 1 });
  return @increment_dsd_offset(@set_dsd_length(all, n), @as(i16, round_offset + offset), f32);
}
"""


def with_rows_of(block: Block, entry: Entry, program: ProgramShape) -> Entry:
    """Return an entry whose loop covers the rows and columns of a block."""
    rows = program.num_rows(block, Launch.at(0, 0))
    return replace(entry, n=block.num_elements, rows=rows, columns=block.columns)


@dataclass(frozen=True, slots=True)
class MultiplyTransposed(AlongAxis):
    """Multiply by a transposed weight block: `result[r, k] = Σ_c input[r, c] · weight[k, c]`.

    The block is first transposed into `piece`; the partial sums are then those of a `Matmul`.
    """

    kinds = along_axes(
        Kind(
            92,
            "multiply_turned",
            """
            const operand = @ptrcast([*]element, &model.activations[left]);
            const after = model.last_$axis - place_$axis();
            const piece = words[8];
            entry += 1;
            turned.pack(activation(piece, 1), parameter(right, 1), columns, inner);
            matmul.run(sums(result, rows * columns), activation(piece, columns), operand,
                       rows, columns, inner, fixed, after);
            """,
            (Module("matmul", ELEMENT), Module("turned")),
        ),
        93,
    )

    result: Block
    input: Block
    weight: Block
    piece: Block
    """Scratch for the transposed block."""
    axis: Axis
    """The axis along which blocks of the result's columns lie."""
    features: int
    """Columns of the result over all PEs, without padding."""

    def entry(self, program: ProgramShape) -> Entry:
        padding = program.size(self.axis) * self.result.columns - self.features
        blocks, inner = (self.result, self.input, self.weight), self.weight.columns
        more = (self.piece,)
        return block_entry(program, self.kind, *blocks, n=padding, inner=inner, more=more)

    def execute(self, memories: Memories) -> None:
        memories.write(self.piece, memories.matrix(self.weight).swapaxes(-1, -2))
        self._product.execute(memories)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, Size]:
        """Return the sizes that the cost depends on.

        The block is transposed `near` with strided copies, or `far` element by element.
        """
        inner = self.weight.columns
        is_near = int(inner <= MOST_STRIDE)
        sizes = self._product.sizes(program, launch)
        return {**sizes, "near": is_near, "far": 1 - is_near, "stride": inner}

    def classes(self, program: ProgramShape, launch: Launch) -> Classes:
        """Return classes of PEs along the axis that differ in padding."""
        return self._product.classes(program, launch)

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Count the multiply-adds, as the product does."""
        return self._product.conflicts(program, launch)

    @property
    def _product(self) -> Matmul:
        return Matmul(self.result, self.input, self.piece, self.axis, self.features)


@dataclass(frozen=True, slots=True)
class AddOuterProducts(MeshOperation):
    """Add the gradient of a weight: `result[k, c] += Σᵣ input[r, k] · gradient[r, c]`.

    r ascends, and each term is rounded. Rows of padding stay 0, whatever the input holds in its
    padding (such as σ(0)).
    """

    kinds = (
        Kind(
            94,
            "add_outer_products",
            """
            entry += 1;
            const after = size(words[8]) - 1 - place(words[8]);
            outer_products.add(gradient(result, columns), activation(left, 1),
                               activation(right, columns), rows, columns, inner,
                               num_present(inner, fixed, after));
            """,
            (Module("outer_products"),),
            (GRADIENT, NUM_PRESENT),
        ),
    )

    result: Block
    """A block in the arena of parameter gradients."""
    input: Block
    gradient: Block
    axis: Axis
    """The axis along which blocks of the input's features lie."""
    features: int
    """Features of the input over all PEs, without padding."""

    def entry(self, program: ProgramShape) -> Entry:
        blocks, inner = (self.result, self.input, self.gradient), self.input.columns
        entry = block_entry(program, self.kind, *blocks, inner=inner, more=(self.axis.number,))
        padding = program.size(self.axis) * inner - self.features
        return replace(with_rows_of(self.gradient, entry, program), n=padding)

    def execute(self, memories: Memories) -> None:
        sums = memories.matrix(self.result)
        rows, gradient = memories.matrix(self.input), memories.matrix(self.gradient)
        is_feature = memories.are_features(self.axis, self.input.columns, self.features)
        for r in range(rows.shape[2]):
            column, row = rows[:, :, r, :, np.newaxis], gradient[:, :, r, np.newaxis]
            added = arithmetic.fused_multiply_add(sums, column, row)
            sums = np.where(is_feature[..., np.newaxis], added, sums)
        memories.write(self.result, sums)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, Size]:
        """Return the sizes that the cost depends on, for a PE without padding."""
        return {**block_sizes(program, self.gradient, launch), "inner": self.input.columns}

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Count the multiply-adds whose sources begin in the same bank."""
        rows = program.num_rows(self.gradient, launch)
        gradients = row_banks(self.gradient, rows, program.dtype)
        sums = row_banks(self.result, self.result.rows, program.dtype)
        count = sum(count * sums[bank] for bank, count in gradients.items())
        return Conflicts(count, "fmacs", self.gradient.columns)


@dataclass(frozen=True, slots=True)
class AddRows(MeshOperation):
    """Add the gradient of a bias: `result[c] += Σᵣ gradient[r, c]`, with r in ascending order."""

    kinds = (
        Kind(
            95,
            "add_rows",
            """
            sum_rows.add(gradient(result, columns), activation(left, columns), rows, columns);
            """,
            (Module("sum_rows"),),
            (GRADIENT,),
        ),
    )

    result: Block
    """A block in the arena of parameter gradients."""
    gradient: Block

    def entry(self, program: ProgramShape) -> Entry:
        entry = block_entry(program, self.kind, self.result, self.gradient)
        return with_rows_of(self.gradient, entry, program)

    def execute(self, memories: Memories) -> None:
        sums, gradient = memories.matrix(self.result)[:, :, 0], memories.matrix(self.gradient)
        for r in range(gradient.shape[2]):
            sums = arithmetic.add(sums, gradient[:, :, r])
        memories.write(self.result, sums)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, Size]:
        return block_sizes(program, self.gradient, launch)

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Count the rows that begin in the same bank as the sums."""
        rows = program.num_rows(self.gradient, launch)
        gradients = row_banks(self.gradient, rows, program.dtype)
        (sums,) = row_banks(self.result, 1, program.dtype)
        return Conflicts(gradients[sums], "fadds", self.gradient.columns)


@dataclass(frozen=True, slots=True)
class ReluGradient(MeshOperation):
    """Keep the gradient where the result of a relu is not 0, else write +0; exact."""

    kinds = (
        Kind(
            96,
            "relu_gradient",
            """
            relu_gradient.run(activation(result, n), activation(left, n), activation(right, n), n);
            """,
            (Module("relu_gradient", ".functions = functions", (FUNCTIONS,)),),
        ),
    )

    result: Block
    gradient: Block
    value: Block
    """The result of a `Relu`."""

    def entry(self, program: ProgramShape) -> Entry:
        return block_entry(program, self.kind, self.result, self.gradient, self.value)

    def execute(self, memories: Memories) -> None:
        is_kept = memories.read(self.value).view(np.uint32) != 0
        kept = np.where(is_kept, memories.read(self.gradient), np.float32(0))
        memories.write(self.result, kept)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        return with_chunks(block_sizes(program, self.result, launch))
