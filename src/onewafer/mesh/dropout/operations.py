"""Dropout drawn on the PEs, as steps of a program."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from onewafer.graph import NUM_SEEDS, SEEDS, DataType, are_drawn, draw_bits
from onewafer.mesh import arithmetic
from onewafer.mesh.blocks import Arena, Block, Distribution, Placement, Role
from onewafer.mesh.entry import ENTRY_WORDS, float_words
from onewafer.mesh.functions import FUNCTIONS
from onewafer.mesh.kinds import Kind, Module
from onewafer.mesh.operation import MeshOperation
from onewafer.mesh.sizes import CHUNK, block_entry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from onewafer.graph import Draw
    from onewafer.mesh.blocks import Axis, Launch
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.kernel_costs import Size
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape

SEEDS_ARENA = Arena("seeds", "i32")
"""The arena for the seeds of a launch, equal on all PEs."""
SEEDS_BLOCK = Block(SEEDS_ARENA, 0, 1, NUM_SEEDS)


def place_seeds(entry: str | None) -> Placement:
    """Return the placement of the seeds, written before `entry`; None: the only entry."""
    return Placement(
        name=SEEDS,
        role=Role.INPUT,
        shape=(1, NUM_SEEDS),
        dtype=DataType.I32,
        rows=Distribution.LOCAL,
        columns=Distribution.LOCAL,
        block=SEEDS_BLOCK,
        entries=() if entry is None else (entry,),
    )


_MOST_WORDS = 2 * CHUNK
"""The most words drawn together for even rows, and as many for odd ones."""


DROPOUT = Module("dropout", ".functions = functions", (FUNCTIONS,))


def draw_words(draw: Draw) -> tuple[int, ...]:
    """Return the schedule words of a draw: its number, and the increment in repetitions."""
    return draw.number, 0, draw.threshold, *float_words(draw.factor)


def factors_at(
    draw: Draw, memories: Memories, rows: NDArray[np.intp], features: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Return the dropout factors of elements at `rows` and `features`, which broadcast.

    Row 0 is the first row of the launch, wherever the launch begins in its sequence.
    """
    seeds = memories.read(SEEDS_BLOCK)[0, 0].reshape(1, -1)
    if not are_drawn(seeds):
        return np.ones(np.broadcast_shapes(rows.shape, features.shape), np.float32)
    bits = draw_bits(seeds, draw.number, first_row(memories.launch) + rows, features)
    return np.where(bits >= draw.threshold, np.float32(draw.factor), np.float32(0))


def first_row(launch: Launch) -> int:
    """Return the index of the launch's first row in its sequence."""
    return launch.start if len(launch.slots) == 1 else 0


def share(size: int, most: int) -> int:
    """Return the largest part of `size`, divided into the fewest equal parts up to `most`."""
    return -(-size // -(-size // most))


@dataclass(frozen=True, slots=True)
class Strips:
    """The strips in which factors are drawn: some columns of some pairs of rows."""

    rows: int
    columns: int

    @property
    def width(self) -> int:
        """Columns of a strip."""
        return share(self.columns, CHUNK)

    @property
    def most_rows(self) -> int:
        """Rows of a strip: the number of pairs that its memory allows, doubled."""
        return 2 * share(-(-self.rows // 2), _MOST_WORDS // self.width)

    @property
    def words(self) -> tuple[int, int]:
        """The schedule words of the strips."""
        return self.width, self.most_rows

    def sizes(self, first: int, rows: int, columns: Size) -> dict[str, Size]:
        """Return the sizes that the cost of drawing some columns of rows depends on.

        Pairs of rows are drawn in `parts` for each of the `strips` of columns. The last strip
        counts as large as the others, a small error, and so does an odd row.
        """
        strips = -(-columns // self.width)
        strip = -(-columns // np.maximum(strips, 1))
        rows += first % 2
        pairs, parts = -(-rows // 2), -(-rows // self.most_rows)
        part = -(-strip * pairs // max(parts, 1))
        return {"strips": strips, "strip": strip, "pairs": pairs, "parts": parts, "part": part}


@dataclass(frozen=True, slots=True)
class Dropout(MeshOperation):
    """Multiply every element by a drawn factor, rounded once; in an evaluation, copy."""

    kinds = (
        Kind(
            84,
            "dropout",
            """
            if (dropout.begin(@ptrcast([*]u16, &model.seeds), words[8] + round * words[9],
                              words[10], words[11], words[12])) {
              dropout.run(activation(result, 1), activation(left, 1), place(right) * columns, 1,
                          start, rows, columns, columns, words[13], words[14]);
            } else if (result != left) {
              @fmovs(activation(result, n), activation(left, n));
            }
            entry += 7;
            """,
            (DROPOUT,),
        ),
    )

    result: Block
    input: Block
    axis: Axis
    """The axis along which the features lie, in logical order."""
    draw: Draw

    @property
    def _strips(self) -> Strips:
        return Strips(self.result.rows, self.result.columns)

    def entry(self, program: ProgramShape) -> Entry:
        more = (*draw_words(self.draw), *self._strips.words)
        found = block_entry(program, self.kind, self.result, self.input, more=more)
        return replace(found, right=self.axis.number, counters=(ENTRY_WORDS,))

    def execute(self, memories: Memories) -> None:
        values = memories.matrix(self.input)
        num_rows, num_columns = memories.num_rows(self.input), self.input.columns
        rows = np.arange(num_rows)[:, np.newaxis]
        first = memories.at(self.axis) * num_columns
        features = first[..., np.newaxis, np.newaxis] + np.arange(num_columns)
        factors = factors_at(self.draw, memories, rows, features)
        memories.write(self.result, arithmetic.multiply(values, factors))

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, Size]:
        """Return the sizes that the cost depends on; an evaluation draws nothing, but may copy."""
        rows, columns = program.num_rows(self.result, launch), self.result.columns
        sizes = self._strips.sizes(first_row(launch), rows, columns)
        return {
            **{name: int(size) for name, size in sizes.items()},
            "drawn": int(not launch.is_evaluation),
            "columns": columns,
            "elements": rows * columns,
            "copied": int(launch.is_evaluation and self.result != self.input),
        }
