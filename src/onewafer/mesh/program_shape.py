"""The shape of a mesh program: all that an operation may know of the program that it is in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.mesh.blocks import Arena, Axis, Launch, RowKind
from onewafer.mesh.chains import Chains

if TYPE_CHECKING:
    from onewafer.graph import DataType
    from onewafer.mesh.blocks import Block, HeadSegments


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramShape:
    """The rectangle of a program, its rows, its memory and its chains; no operations."""

    width: int
    height: int
    dtype: DataType
    arena_elements: dict[Arena, int]
    """Size of each arena on every PE, in the order in which they are declared."""
    sequence_rows: int | None = None
    """Rows of a full launch, where rows are tokens of one sequence; None: they are independent."""
    context: int | None = None
    """Positions that a sequence may have; None: there is no limit."""
    middle_x: int = 0
    middle_y: int = 0
    section_x: int = 0
    section_y: int = 0
    """PEs of a section of the chains along an axis, 0: they have one phase (`chains`)."""
    heads: HeadSegments | None = None
    """Where PEs exchange scores only within their head; None: nowhere."""

    @property
    def row_kind(self) -> RowKind:
        """What the rows of a launch are to each other."""
        return RowKind.INDEPENDENT if self.sequence_rows is None else RowKind.SEQUENCE

    def size(self, axis: Axis) -> int:
        """Return the number of PEs along an axis."""
        return self.width if axis is Axis.X else self.height

    def middle(self, axis: Axis) -> int:
        """Return the place along an axis at which its chains end, and from which it broadcasts."""
        return self.middle_x if axis is Axis.X else self.middle_y

    def chains(self, axis: Axis) -> Chains:
        """Return how chains go along an axis."""
        section = self.section_x if axis is Axis.X else self.section_y
        chains = Chains(self.size(axis), self.middle(axis), section)
        if self.heads is None or self.heads.axis is not axis:
            return chains
        heads = self.heads
        return replace(chains, head_pes=heads.num_pes, num_heads=heads.num_heads)

    def arena_bytes(self, arena: Arena) -> int:
        """Return the bytes that an arena takes on every PE."""
        return self.arena_elements.get(arena, 0) * self.element_type(arena).itemsize

    def element_type(self, arena: Arena) -> np.dtype[Any]:
        """Return the type of an arena's elements."""
        name = arena.element or str(self.dtype)
        return np.dtype(f"{name[0]}{int(name[1:]) // 8}")

    def whole_launch(self) -> Launch:
        """Return the launch of all rows from position 0 on."""
        return Launch.at(0, self.sequence_rows or 0)

    def num_rows(self, block: Block, launch: Launch) -> int:
        """Return how many rows of a block of activations a launch works on."""
        is_sequence = block.rows == self.sequence_rows and block.arena.has_rows
        return launch.num_rows if is_sequence else block.rows
