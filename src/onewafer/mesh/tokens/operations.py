"""Operations that depend on tokens and positions: lookups, rotation, one row of many."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from onewafer.mesh.functions import FUNCTIONS
from onewafer.mesh.kinds import ELEMENT, Kind, Module
from onewafer.mesh.operation import Classes, DataDependence, MeshOperation
from onewafer.mesh.sizes import CHUNK, block_entry, block_sizes
from onewafer.mesh.tokens import arrays

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from onewafer.mesh.blocks import Axis, Block, Launch
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.kernel_costs import Size
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape


LAST_ROW = Module("last_row", ELEMENT)
_LOOKUP = Module("lookup", ELEMENT)


@dataclass(frozen=True, slots=True)
class LookUpTokens(MeshOperation):
    """Look up columns of a table as rows of the result, −0 for columns on other PEs.

    The table is laid out as a linear layer's weight: its entries are columns, blocked over an axis.
    """

    kinds = (
        Kind(
            45,
            "look_up_tokens",
            """
            const entries = @ptrcast([*]element, &model.parameters[right]);
            lookup.tokens(totals(result), entries, @ptrcast([*]i32, &model.indices[left]),
                          rows, columns, inner, place(words[8]));
            entry += 1;
            """,
            (_LOOKUP,),
        ),
    )

    depends_on = DataDependence.TOKENS

    result: Block
    """f32."""
    indices: Block
    table: Block
    axis: Axis
    """The axis along which blocks of the table's entries lie."""

    def entry(self, program: ProgramShape) -> Entry:
        """Return the schedule entry; the table does not move with the rounds of a repetition."""
        blocks, more = (self.result, self.indices, self.table), (self.axis.number,)
        entry = block_entry(program, self.kind, *blocks, inner=self.table.columns, more=more)
        return replace(entry, parameter_words=())

    def execute(self, memories: Memories) -> None:
        rows = memories.num_rows(self.result)
        indices = memories.view(self.indices, rows)
        table = memories.matrix(self.table)
        held = arrays.look_up_tokens(table, indices, b=memories.at(self.axis))
        memories.write(self.result, held)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        """Return the sizes that the cost depends on, with tokens spread evenly over the PEs."""
        sizes = block_sizes(program, self.result, launch)
        return {**sizes, "held": -(-sizes["rows"] // program.size(self.axis))}


@dataclass(frozen=True, slots=True)
class LookUpPositions(MeshOperation):
    """Look up the rows of a table at the launch's positions, −0 for rows on other PEs."""

    kinds = (
        Kind(
            46,
            "look_up_positions",
            """
            lookup.positions(totals(result), parameter(right, 1), start, rows, columns, inner,
                             place(words[8]));
            entry += 1;
            """,
            (_LOOKUP,),
        ),
        Kind(
            81,
            "look_up_slot_positions",
            """
            var to = result;
            for (@range(u16, num_slots)) |index| {
              const count = model.slots[4 * index + 2];
              lookup.positions(totals(to), parameter(right, 1), model.slots[4 * index + 3], count,
                               columns, inner, place(words[8]));
              to += count * columns;
            }
            entry += 1;
            """,
            (_LOOKUP,),
            flags=("has_slots",),
        ),
    )

    result: Block
    """f32."""
    table: Block
    axis: Axis
    """The axis along which blocks of the table's rows lie."""
    has_slots: bool = False
    """True if launches may have rows of several sequences."""

    @property
    def kind(self) -> Kind:
        return self.kinds[int(self.has_slots)]

    def entry(self, program: ProgramShape) -> Entry:
        more = (self.axis.number,)
        inner = self.table.rows
        blocks = self.result, None, self.table
        return block_entry(program, self.kind, *blocks, inner=inner, more=more)

    def execute(self, memories: Memories) -> None:
        table, b = memories.matrix(self.table), memories.at(self.axis)
        held = [
            arrays.look_up_positions(table, start=slot.first_table_row, rows=slot.rows, b=b)
            for slot in memories.launch.slots
        ]
        memories.write(self.result, np.concatenate(held, axis=-2))

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, Size]:
        """Return the sizes that the cost depends on: a PE `holds` some positions or none."""
        held = count_held(self.table, self.axis, program, launch)[0].T[:, :, np.newaxis]
        sizes: dict[str, Size] = {
            "holds": (held > 0).astype(np.int64),
            "held": held * self.result.columns,
        }
        if not self.has_slots:
            return {**block_sizes(program, self.result, launch), **sizes}
        rows = np.array([slot.rows for slot in launch.slots])[:, np.newaxis, np.newaxis]
        return {"slot": np.ones_like(rows), "elements": rows * self.result.columns, **sizes}

    def classes(self, program: ProgramShape, launch: Launch) -> Classes:
        """Return the classes of PEs along the axis, by their number of positions."""
        return count_held(self.table, self.axis, program, launch)[1]


def count_held(
    table: Block, axis: Axis, program: ProgramShape, launch: Launch
) -> tuple[NDArray[np.int64], Classes]:
    """Return the number of each slot's positions in a PE's block of a table, `[classes, slots]`."""
    begins = table.rows * np.arange(program.size(axis))[:, np.newaxis]
    first = np.array([slot.first_table_row for slot in launch.slots])
    end = first + [slot.rows for slot in launch.slots]
    held = np.minimum(begins + table.rows, end) - np.maximum(begins, first)
    return Classes.of(axis, np.maximum(held, 0))


@dataclass(frozen=True, slots=True)
class Rotate(MeshOperation):
    """Rotate pairs of neighbouring features by the angles of the position of their row.

    Computed in f32, each operation rounded, and rounded once more to the program's dtype.
    """

    kinds = (
        Kind(
            44,
            "rotate",
            """
            rotary.run(activation(result, 1), activation(left, 1),
                       totals(words[8]), totals(words[9]), sums(words[10], 1),
                       rows, columns, inner);
            entry += 3;
            """,
            (Module("rotary", f"{ELEMENT}, .functions = functions", (FUNCTIONS,)),),
        ),
    )

    result: Block
    input: Block
    cosine: Block
    """f32, one column for the features of all members."""
    sine: Block
    scratch: Block
    """f32, twice the size of `cosine`."""
    members: int
    """Columns of the result for each column of `cosine`."""

    def entry(self, program: ProgramShape) -> Entry:
        return block_entry(
            program,
            self.kind,
            self.result,
            self.input,
            columns=self.cosine.columns,
            inner=self.members,
            more=(self.cosine, self.sine, self.scratch),
        )

    def execute(self, memories: Memories) -> None:
        rows, width = memories.num_rows(self.input), self.cosine.columns
        values = memories.view(self.input, rows, width, self.members)
        cosine, sine = memories.matrix(self.cosine), memories.matrix(self.sine)
        memories.write(self.result, arrays.rotate(values, cosine, sine))

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        elements = block_sizes(program, self.cosine, launch)["elements"]
        pairs, whole = elements // 2, elements * self.members
        is_short = pairs < self.members and whole <= CHUNK
        return {
            "members": self.members,
            "elements": elements,
            "pairs": pairs,
            "whole": whole,
            "short": int(is_short),
            "long": int(not is_short),
        }


@dataclass(frozen=True, slots=True)
class TakeRow(MeshOperation):
    """Copy one row: the first or the last one of the launch."""

    kinds = (
        Kind(
            47,
            "take_row",
            """
            const row = if (inner == 0) 0 else num_rows - 1;
            last_row.run(activation(result, columns), activation(left, columns), row, columns);
            """,
            (LAST_ROW,),
        ),
    )

    result: Block
    input: Block
    is_last: bool

    def entry(self, program: ProgramShape) -> Entry:
        return block_entry(program, self.kind, self.result, self.input, inner=int(self.is_last))

    def execute(self, memories: Memories) -> None:
        rows = memories.matrix(self.input)
        memories.write(self.result, np.array(rows[..., -1 if self.is_last else 0, :]))

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        return block_sizes(program, self.result, launch)


@dataclass(frozen=True, slots=True)
class TakeRowAt(MeshOperation):
    """Copy the indexed row."""

    kinds = (
        Kind(
            251,
            "take_row_at",
            """
            const row = @as(u16, @ptrcast([*]i32, &model.indices[right])[0]);
            last_row.run(activation(result, columns), activation(left, columns), row, columns);
            """,
            (LAST_ROW,),
        ),
    )

    result: Block
    input: Block
    index: Block

    def entry(self, program: ProgramShape) -> Entry:
        return block_entry(program, self.kind, self.result, self.input, self.index)

    def execute(self, memories: Memories) -> None:
        rows, index = memories.matrix(self.input), memories.matrix(self.index)
        memories.write(self.result, np.take_along_axis(rows, index, axis=-2))

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        return block_sizes(program, self.result, launch)


@dataclass(frozen=True, slots=True)
class TakeLastRows(MeshOperation):
    """Copy the last row of each slot of the launch."""

    kinds = (
        Kind(
            82,
            "take_last_rows",
            """
            var end: u16 = 0;
            var to = result;
            for (@range(u16, rows)) |index| {
              end += model.slots[4 * index + 2];
              last_row.run(activation(to, columns), activation(left, columns), end - 1, columns);
              to += columns;
            }
            """,
            (LAST_ROW,),
            flags=("has_slots",),
        ),
    )

    result: Block
    """A row for each sequence of the program."""
    input: Block

    def entry(self, program: ProgramShape) -> Entry:
        return block_entry(program, self.kind, self.result, self.input)

    def execute(self, memories: Memories) -> None:
        ends = np.cumsum([slot.rows for slot in memories.launch.slots])
        memories.write(self.result, memories.matrix(self.input)[..., ends - 1, :])

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        del program
        return {"slots": len(launch.slots), "columns": self.result.columns}
