"""Dropout that PEs draw, as steps of a program."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from onewafer.graph import are_drawn, draw_bits
from onewafer.mesh import arithmetic
from onewafer.mesh.dropout.seeds import SEEDS_BLOCK
from onewafer.mesh.entry import ENTRY_WORDS, float_words
from onewafer.mesh.functions import FUNCTIONS
from onewafer.mesh.kinds import Kind, Module
from onewafer.mesh.operation import MeshOperation
from onewafer.mesh.sizes import CHUNK, block_entry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from onewafer.mesh.blocks import Axis, Block, Launch
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape

_MOST_WORDS = 2 * CHUNK
"""Words that are drawn together for even rows, and as many for odd ones."""


@dataclass(frozen=True, slots=True)
class Draws:
    """What a dropout draws."""

    number: int
    threshold: int
    factor: float
    """What elements that are kept are multiplied by."""

    def factors(
        self, memories: Memories, rows: NDArray[np.intp], features: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        """Return the factors of elements of the launch, at rows and features that broadcast."""
        seeds = memories.read(SEEDS_BLOCK)[0, 0].reshape(1, -1)
        if not are_drawn(seeds):
            return np.ones(np.broadcast_shapes(rows.shape, features.shape), np.float32)
        is_kept = draw_bits(seeds, self.number, rows, features) >= self.threshold
        return np.where(is_kept, np.float32(self.factor), np.float32(0))

    @property
    def words(self) -> tuple[int, ...]:
        """The words of the schedule that say it; that of the number has its increment behind it."""
        return self.number, 0, self.threshold, *float_words(self.factor)


@dataclass(frozen=True, slots=True)
class Dropout(MeshOperation):
    """Multiply every element by a factor that is drawn, rounded once."""

    kinds = (
        Kind(
            84,
            "dropout",
            """
            dropout.begin(@ptrcast([*]u16, &model.seeds), words[8] + round * words[9], words[10],
                          words[11], words[12]);
            dropout.run(activation(result, 1), activation(left, 1), place(right) * columns, 1,
                        rows, columns, columns, words[13], words[14]);
            entry += 7;
            """,
            (Module("dropout", ".functions = functions", (FUNCTIONS,)),),
        ),
    )

    result: Block
    input: Block
    axis: Axis
    """The axis along which the features lie, in their order."""
    draws: Draws

    @property
    def _strip(self) -> int:
        """Columns that are drawn together."""
        return _share(self.result.columns, CHUNK)

    @property
    def _most_rows(self) -> int:
        """Rows that are drawn together: as many pairs as there is room for."""
        return 2 * _share(-(-self.result.rows // 2), _MOST_WORDS // self._strip)

    def entry(self, program: ProgramShape) -> Entry:
        """Return its words in the schedule."""
        more = (*self.draws.words, self._strip, self._most_rows)
        found = block_entry(program, self.kind, self.result, self.input, more=more)
        return replace(found, right=self.axis.number, counters=(ENTRY_WORDS,))

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        values = memories.matrix(self.input)
        num_rows, num_columns = memories.num_rows(self.input), self.input.columns
        rows = np.arange(num_rows)[:, np.newaxis]
        first = memories.at(self.axis) * num_columns
        features = first[..., np.newaxis, np.newaxis] + np.arange(num_columns)
        factors = self.draws.factors(memories, rows, features)
        memories.write(self.result, arithmetic.multiply(values, factors))

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        """Return the sizes that its cost depends on.

        Pairs of rows are drawn in `parts` for each of the `strips` of columns. That the last ones
        are as large as the others is close enough, and so is a row more.
        """
        rows, columns = program.num_rows(self.result, launch), self.result.columns
        pairs, strip = -(-rows // 2), self._strip
        parts = -(-rows // self._most_rows)
        return {
            "columns": columns,
            "strips": -(-columns // strip),
            "strip": strip,
            "pairs": pairs,
            "parts": parts,
            "part": -(-strip * pairs // max(parts, 1)),
        }


def _share(size: int, most: int) -> int:
    """Return the size of the largest of as few nearly equal parts as can be, of a size at most."""
    return -(-size // -(-size // most))
