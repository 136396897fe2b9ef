"""Backward passes of lookups and rotation in f32; gradients of tables accumulate in place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.mesh import arithmetic
from onewafer.mesh.gradients.operations import GRADIENT, with_rows_of
from onewafer.mesh.kinds import Kind, Module
from onewafer.mesh.operation import DataDependence, MeshOperation
from onewafer.mesh.sizes import block_entry, block_sizes
from onewafer.mesh.tokens import arrays
from onewafer.mesh.tokens.operations import count_held

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.mesh.blocks import Axis, Block, Launch
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.kernel_costs import Size
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.operation import Classes
    from onewafer.mesh.program_shape import ProgramShape

_SCATTER = Module("scatter")
_PLACE_ROW = Module("place_row")


@dataclass(frozen=True, slots=True)
class AddTokens(MeshOperation):
    """Add rows to the columns of a table's gradient that tokens index, if this PE has them.

    Rows are added in ascending order, each sum rounded. Rows of the `padding` token are skipped.
    """

    kinds = (
        Kind(
            151,
            "add_tokens",
            """
            const entries = @ptrcast([*]f32, &model.gradients[round_offset + result]);
            scatter.tokens(entries, totals(left), @ptrcast([*]i32, &model.indices[right]),
                           rows, columns, inner, place(words[8]));
            entry += 1;
            """,
            (_SCATTER,),
        ),
        Kind(
            253,
            "add_tokens_but_one",
            """
            const entries = @ptrcast([*]f32, &model.gradients[round_offset + result]);
            const left_out = if (place(words[8]) == words[9]) @as(i32, words[10]) else -1;
            scatter.tokens_but(entries, totals(left), @ptrcast([*]i32, &model.indices[right]),
                               rows, columns, inner, place(words[8]), left_out);
            entry += 3;
            """,
            (_SCATTER,),
        ),
    )

    depends_on = DataDependence.TOKENS

    result: Block
    """A block in the arena of parameter gradients, with the table's entries as columns."""
    gradient: Block
    indices: Block
    axis: Axis
    """The axis along which blocks of the table's entries lie."""
    padding: int | None = None
    """The entry that gets no gradient, if there is one."""

    @property
    def kind(self) -> Kind:
        return self.kinds[self.padding is not None]

    def entry(self, program: ProgramShape) -> Entry:
        blocks, columns = (self.result, self.gradient, self.indices), self.gradient.columns
        inner = self.result.columns
        left_out = () if self.padding is None else divmod(self.padding, inner)
        more = (self.axis.number, *left_out)
        entry = block_entry(program, self.kind, *blocks, columns=columns, inner=inner, more=more)
        return with_rows_of(self.gradient, entry, program)

    def execute(self, memories: Memories) -> None:
        gradient = memories.matrix(self.gradient)
        indices = memories.view(self.indices, gradient.shape[2])
        table, b = memories.matrix(self.result), memories.at(self.axis)
        if self.padding is not None:
            indices = np.where(indices == self.padding, -1, indices)  # no PE has entry −1
        memories.write(self.result, arrays.add_tokens(table, indices, gradient, b=b))

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        """Return the sizes that the cost depends on, with tokens spread evenly over the PEs."""
        sizes = block_sizes(program, self.gradient, launch)
        return {**sizes, "held": -(-sizes["rows"] // program.size(self.axis))}


@dataclass(frozen=True, slots=True)
class AddPositions(MeshOperation):
    """Add rows to the rows of a table's gradient at the positions of the launch."""

    kinds = (
        Kind(
            153,
            "add_positions",
            """
            scatter.positions(gradient(result, 1), activation(left, 1), start, rows, columns,
                              inner, place(words[8]));
            entry += 1;
            """,
            (_SCATTER,),
            (GRADIENT,),
        ),
    )

    result: Block
    """A block in the arena of parameter gradients."""
    gradient: Block
    axis: Axis
    """The axis along which blocks of the table's rows lie."""

    def entry(self, program: ProgramShape) -> Entry:
        inner, more = self.result.rows, (self.axis.number,)
        blocks = self.result, self.gradient
        entry = block_entry(program, self.kind, *blocks, inner=inner, more=more)
        return with_rows_of(self.gradient, entry, program)

    def execute(self, memories: Memories) -> None:
        gradient, table = memories.matrix(self.gradient), memories.matrix(self.result)
        start, b = memories.launch.start, memories.at(self.axis)
        memories.write(self.result, arrays.add_positions(table, gradient, start=start, b=b))

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, Size]:
        """Return the sizes that the cost depends on: a PE `holds` some positions or none."""
        held = count_held(self.result, self.axis, program, launch)[0].T[:, :, np.newaxis]
        return {"holds": (held > 0).astype(np.int64), "held": held * self.gradient.columns}

    def classes(self, program: ProgramShape, launch: Launch) -> Classes:
        """Return the classes of PEs along the axis, by their number of positions."""
        return count_held(self.result, self.axis, program, launch)[1]


@dataclass(frozen=True, slots=True)
class TurnAngles(MeshOperation):
    """Swap the sines of each pair and negate them, so that `Rotate` rotates back."""

    kinds = (
        Kind(
            155,
            "turn_angles",
            "turn_angles.run(activation(result, 1), activation(left, 1), n / 2);",
            (Module("turn_angles"),),
        ),
    )

    result: Block
    sine: Block

    def entry(self, program: ProgramShape) -> Entry:
        return block_entry(program, self.kind, self.result, self.sine)

    def execute(self, memories: Memories) -> None:
        sine = memories.read(self.sine)
        pairs = sine.reshape(*sine.shape[:-1], -1, 2)[..., ::-1]
        memories.write(self.result, arithmetic.multiply(pairs, np.asarray(-1, np.float32)))

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        return {"pairs": block_sizes(program, self.result, launch)["elements"] // 2}


@dataclass(frozen=True, slots=True)
class PlaceRow(MeshOperation):
    """Copy one row to the first or last row of a block of +0; exact."""

    kinds = (
        Kind(
            250,
            "place_row",
            """
            const row = if (inner == 0) 0 else num_rows - 1;
            place_row.run(activation(result, n), activation(left, columns), row, columns);
            """,
            (_PLACE_ROW,),
        ),
    )

    result: Block
    gradient: Block
    is_last: bool

    def entry(self, program: ProgramShape) -> Entry:
        return block_entry(program, self.kind, self.result, self.gradient, inner=int(self.is_last))

    def execute(self, memories: Memories) -> None:
        rows = np.zeros_like(memories.matrix(self.result))
        rows[..., -1 if self.is_last else 0, :] = memories.matrix(self.gradient)[..., 0, :]
        memories.write(self.result, rows)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        return block_sizes(program, self.result, launch)


@dataclass(frozen=True, slots=True)
class PlaceRowAt(MeshOperation):
    """Copy one row to the indexed row of a block of +0; exact."""

    kinds = (
        Kind(
            252,
            "place_row_at",
            """
            const row = @as(u16, @ptrcast([*]i32, &model.indices[right])[0]);
            place_row.run(activation(result, n), activation(left, columns), row, columns);
            """,
            (_PLACE_ROW,),
        ),
    )

    result: Block
    gradient: Block
    index: Block

    def entry(self, program: ProgramShape) -> Entry:
        return block_entry(program, self.kind, self.result, self.gradient, self.index)

    def execute(self, memories: Memories) -> None:
        rows = np.zeros_like(memories.matrix(self.result))
        index = memories.matrix(self.index)
        np.put_along_axis(rows, index, memories.matrix(self.gradient), axis=-2)
        memories.write(self.result, rows)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        return block_sizes(program, self.result, launch)
