"""The shape of a mesh program: all that an operation may know of the program that it is in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.mesh.blocks import Arena, Axis, Launch, RowKind
from onewafer.mesh.chains import Chains

if TYPE_CHECKING:
    from onewafer.graph import DataType
    from onewafer.mesh.blocks import Block, HeadSegments


class BlockRows(Enum):
    """The kind of rows in a block, by the word for their number in an entry of the schedule."""

    FIXED = None
    """As many as the block has."""
    ALL = 0
    """The rows of the launch."""
    ONE_A_SLOT = 0xFFFF
    """One row of each slot of the launch."""


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
    sequences: int = 1
    """Sequences that it keeps keys and values of; a launch may have rows of all of them."""
    middle_x: int = 0
    middle_y: int = 0
    section_x: int = 0
    section_y: int = 0
    """PEs of a section of the chains along an axis, 0: they have one phase (`chains`)."""
    heads: HeadSegments | None = None
    """Where PEs exchange scores only within their head, or sums only within their group of samples;
    None: nowhere."""
    sample_groups: int = 1
    """Groups of rows of PEs, each with its part of the samples; tensors lie within each."""

    @property
    def row_kind(self) -> RowKind:
        """The relation between the rows of a launch."""
        if self.sequence_rows is None:
            return RowKind.INDEPENDENT if self.sample_groups == 1 else RowKind.GROUPED
        return RowKind.SEQUENCE if self.sequences == 1 else RowKind.SEQUENCES

    def size(self, axis: Axis) -> int:
        """Return over how many PEs along an axis tensors lie: along y those of a group."""
        return self.width if axis is Axis.X else self.height // self.sample_groups

    def extent(self, axis: Axis) -> int:
        """Return the number of all PEs along an axis."""
        return self.width if axis is Axis.X else self.height

    def middle(self, axis: Axis) -> int:
        """Return the place along an axis at which its chains end, and from which it broadcasts."""
        return self.middle_x if axis is Axis.X else self.middle_y

    def chains(self, axis: Axis) -> Chains:
        """Return how chains go along an axis."""
        section = self.section_x if axis is Axis.X else self.section_y
        chains = Chains(self.extent(axis), self.middle(axis), section)
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
        match self.rows_of(block):
            case BlockRows.ALL:
                return launch.num_rows
            case BlockRows.ONE_A_SLOT:
                return len(launch.slots)
            case BlockRows.FIXED:
                return block.rows

    def rows_of(self, block: Block) -> BlockRows:
        """Return what the rows of a block are."""
        if not block.arena.has_rows:
            return BlockRows.FIXED
        if block.rows == self.sequence_rows:
            return BlockRows.ALL
        # Where launches have as many rows as there are sequences, `ALL` has those of all slots.
        is_one = self.sequences > 1 and block.rows == self.sequences
        return BlockRows.ONE_A_SLOT if is_one else BlockRows.FIXED
