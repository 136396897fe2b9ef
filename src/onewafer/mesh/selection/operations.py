"""Steps that find the largest elements of rows, between maxima along the features' axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.mesh.kinds import ELEMENT, Beginning, Kind, Module
from onewafer.mesh.operation import DataDependence, MeshOperation
from onewafer.mesh.selection import arrays
from onewafer.mesh.sizes import block_entry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from onewafer.mesh.blocks import Axis, Block, Launch
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape

    Integers = NDArray[np.intp]


SELECTION = Module("selection", ELEMENT)
OF_SELECTION = Beginning(
    "steps that look for elements of rows",
    """
    const axis = words[8];
    const padding = words[9];
    const count = words[10];
    entry += 3;
    const at = place(axis);
    const present = selection.present(inner, padding, size(axis) - 1 - at);
    const first = @as(i32, at) * @as(i32, inner);
    """,
)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows whose largest elements are searched, and their elements that are not found yet."""

    input: Block
    rest: Block
    """A copy of the input in which found elements are −∞; the input if only one is searched."""
    indices: Block
    """i32, a column for each element to be found."""
    axis: Axis
    """The axis over which the rows are blocked."""
    features: int
    """Features of the input over all PEs, without padding."""

    def words(self, program: ProgramShape) -> tuple[int, ...]:
        """Return the schedule words for the rows and the number of elements to be found."""
        padding = program.size(self.axis) * self.input.columns - self.features
        return (self.axis.number, padding, self.indices.columns)

    def first(self, memories: Memories) -> Integers:
        """Return the index of the first column of each PE, `[height, width, 1]`."""
        return memories.at(self.axis)[..., np.newaxis] * self.input.columns

    def present(self, memories: Memories) -> Integers:
        """Return the number of columns of each PE that are not padding, `[height, width, rows]`."""
        columns, num_rows = self.input.columns, memories.num_rows(self.input)
        present = np.clip(self.features - self.first(memories), 0, columns)
        return np.broadcast_to(present, (*present.shape[:2], num_rows))


class _Step(MeshOperation):
    """A step of the search for one element of each row."""

    __slots__ = ()

    depends_on = DataDependence.SELECTION

    words: Block
    rows: Rows

    def step_entry(self, program: ProgramShape, own: Block | None, *more: Block) -> Entry:
        """Return the schedule entry, which is equal for all elements."""
        words, columns = self.rows.words(program), self.rows.input.columns
        blocks = self.words, self.rows.rest, own
        return block_entry(program, self.kind, *blocks, inner=columns, more=(*words, *more))


@dataclass(frozen=True, slots=True)
class FindLargest(_Step):
    """Find the largest remaining element of each row on a PE, and its first index; exact.

    Both are −∞ if there is none.
    """

    kinds = (
        Kind(
            62,
            "find_largest",
            """
            const places = totals(words[11]);
            const whole = @ptrcast([*]element, &model.activations[words[12]]);
            const indices = @ptrcast([*]i32, &model.indices[words[13]]);
            selection.find(totals(result), totals(right), places, activation(left, 1),
                           whole, indices,
                           rows, inner, count, present, first);
            entry += 3;
            """,
            (SELECTION,),
            beginning=OF_SELECTION,
        ),
    )

    words: Block
    """f32, one number for each row: the element, to be reduced to the maximum."""
    own: Block
    """f32, a copy of the element that the reduction leaves as it is."""
    places: Block
    """f32, minus the index of the element."""
    rows: Rows
    num_found: int = 0
    """The number of elements of each row that have been found before."""

    def entry(self, program: ProgramShape) -> Entry:
        rows = self.rows
        return self.step_entry(program, self.own, self.places, rows.input, rows.indices)

    def execute(self, memories: Memories) -> None:
        rows, present = self.rows, self.rows.present(memories)
        own = arrays.largest(memories.matrix(rows.rest), present)
        indices = memories.view(rows.indices, own.shape[-1], rows.indices.columns)
        found, blocks = indices[..., : self.num_found], memories.matrix(rows.input)
        places = arrays.locate(blocks, own, present, rows.first(memories), found)
        memories.write(self.words, own)
        memories.write(self.own, own)
        memories.write(self.places, places)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        """Return the sizes that the cost depends on, for elements above −∞.

        A binary search with `steps` halvings finds the index; `half` is the mean number of columns.
        """
        columns = self.rows.input.columns
        steps = (columns - 1).bit_length()
        return {
            "rows": program.num_rows(self.words, launch),
            "columns": columns,
            "steps": steps,
            "half": -(-(columns - 1) // max(steps, 1)),
        }


@dataclass(frozen=True, slots=True)
class Claim(_Step):
    """Replace the maximum by minus the index of this PE's element if they are equal, else by −∞."""

    kinds = (
        Kind(
            63,
            "claim",
            """
            selection.claim(totals(result), totals(right), totals(words[11]), rows);
            entry += 1;
            """,
            (SELECTION,),
            beginning=OF_SELECTION,
        ),
    )

    words: Block
    own: Block
    places: Block
    rows: Rows

    def entry(self, program: ProgramShape) -> Entry:
        return self.step_entry(program, self.own, self.places)

    def execute(self, memories: Memories) -> None:
        words, own, places = map(memories.read, (self.words, self.own, self.places))
        memories.write(self.words, arrays.claim(words, own, places))

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        return {"rows": program.num_rows(self.words, launch)}


@dataclass(frozen=True, slots=True)
class TakeIndex(_Step):
    """Store the index of the element found in each row.

    If more elements are to be found, −∞ replaces this one in the rest.
    """

    kinds = (
        Kind(
            64,
            "take_index",
            """
            const indices = @ptrcast([*]i32, &model.indices[words[11]]);
            const rest = @ptrcast([*]element, &model.activations[left]);
            selection.take(indices, totals(result), rest, rows, inner, count, present, first);
            entry += 1;
            """,
            (SELECTION,),
            beginning=OF_SELECTION,
        ),
    )

    words: Block
    rows: Rows
    num_found: int = 0
    """The number of elements of each row that have been found before."""

    def entry(self, program: ProgramShape) -> Entry:
        return self.step_entry(program, None, self.rows.indices)

    def execute(self, memories: Memories) -> None:
        rows, num_rows = self.rows, memories.num_rows(self.words)
        words = memories.view(self.words, num_rows)
        found = np.array(memories.view(rows.indices, num_rows, rows.indices.columns))
        found[..., self.num_found] = arrays.index(words)
        memories.write(rows.indices, found)
        if rows.indices.columns > 1:
            rest, present = memories.matrix(rows.rest), rows.present(memories)
            left = arrays.take(rest, words, present, rows.first(memories))
            memories.write(rows.rest, left)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        """Return the sizes that the cost depends on, with elements spread evenly over the PEs."""
        num_rows, has_more = program.num_rows(self.words, launch), self.rows.indices.columns > 1
        return {
            "rows": num_rows,
            "more": int(has_more),
            "compared": num_rows * has_more,
            "held": -(-num_rows // program.size(self.rows.axis)) * has_more,
        }
