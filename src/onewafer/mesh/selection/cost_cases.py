"""Cost cases of the search for the largest elements of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.mesh import selection as mesh
from onewafer.mesh.blocks import Arena, Axis, Block
from onewafer.mesh.cost_case import NUM_PES, TOTALS, CostCase, Sizes, grid
from onewafer.mesh.selection.operations import Rows

if TYPE_CHECKING:
    from onewafer.mesh.operation import MeshOperation


@dataclass(frozen=True, slots=True)
class _Selection:
    """Operands of the steps that find the `heads` largest elements of each row."""

    sizes: Sizes

    @property
    def rows(self) -> Rows:
        """Rows of which no element has been found yet."""
        sizes = self.sizes
        indices = Block(Arena.INDICES, 0, sizes.rows, sizes.heads)
        features = NUM_PES * sizes.columns
        return Rows(sizes.block(), sizes.block(), indices, Axis.X, features)

    @property
    def words(self) -> Block:
        """One number for each row."""
        return Block(Arena.ACTIVATIONS, 0, self.sizes.rows, 1)

    def find(self) -> MeshOperation:
        """Return the local search, for elements above −∞."""
        return mesh.FindLargest(self.words, self.words, self.words, self.rows)

    def claim(self) -> MeshOperation:
        """Return the comparison with the overall maximum, which every row equals."""
        return mesh.Claim(self.words, self.words, self.words, self.rows)

    def take(self) -> MeshOperation:
        """Return the operation that stores an index."""
        return mesh.TakeIndex(self.words, self.rows)

    def some_held(self) -> dict[str, tuple[int, ...]]:
        """Return minus an index as the word of each row; one in `NUM_PES` is in the block."""
        held = -(-self.sizes.rows // NUM_PES)
        return {TOTALS: (0, 0) * held + _MINUS_THOUSAND * (self.sizes.rows - held)}


_MINUS_THOUSAND = (0x0000, 0xC47A)
"""−1000 in f32, low word first."""


COST_CASES = (
    CostCase(
        lambda sizes: _Selection(sizes).find(),
        rounds=("rows", "rows*steps"),
        lengths=("columns", "half"),
        grid=grid(rows=(3, 5), columns=(2, 3)),  # each half is one element
    ),
    CostCase(lambda sizes: _Selection(sizes).claim(), rounds=("rows",)),
    CostCase(
        lambda sizes: _Selection(sizes).take(),
        rounds=("rows", "more", "compared", "held"),
        grid=grid(rows=(3, 4, 8, 9), heads=(1, 2)),
        memory=lambda sizes: _Selection(sizes).some_held(),
    ),
)
