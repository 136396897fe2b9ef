"""The shape of a mesh program: what an operation knows about the program around it."""

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
    """The kind of a block's rows, by the word for their number in a schedule entry."""

    FIXED = None
    """A fixed number: all rows of the block."""
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
    """The elements of each arena on every PE, in the order of declaration."""
    sequence_rows: int | None = None
    """The rows of a full launch, if rows are tokens of a sequence; None: rows are independent."""
    context: int | None = None
    """The largest number of positions of a sequence; None: no limit."""
    sequences: int = 1
    """The sequences whose keys and values are cached; a launch may have rows of all of them."""
    middle_x: int = 0
    middle_y: int = 0
    section_x: int = 0
    section_y: int = 0
    """The PEs of a section of the chains along each axis; 0: chains have one phase (`chains`)."""
    heads: HeadSegments | None = None
    """The segments of an axis in which scores of a head, or sums of a sample group, are exchanged;
    None: there are none."""
    sample_groups: int = 1
    """Groups of PE rows, among which the samples are divided."""

    @property
    def row_kind(self) -> RowKind:
        """The relation between the rows of a launch."""
        if self.sequence_rows is None:
            return RowKind.INDEPENDENT if self.sample_groups == 1 else RowKind.GROUPED
        return RowKind.SEQUENCE if self.sequences == 1 else RowKind.SEQUENCES

    def size(self, axis: Axis) -> int:
        """Return the number of PEs over which tensors are blocked; along y, those of one group."""
        return self.width if axis is Axis.X else self.height // self.sample_groups

    def extent(self, axis: Axis) -> int:
        """Return the number of all PEs along an axis."""
        return self.width if axis is Axis.X else self.height

    def middle(self, axis: Axis) -> int:
        """Return the place along an axis where its chains end and its broadcasts begin."""
        return self.middle_x if axis is Axis.X else self.middle_y

    def chains(self, axis: Axis) -> Chains:
        """Return the chains along an axis."""
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
        """Return the number of a block's rows that a launch computes."""
        match self.rows_of(block):
            case BlockRows.ALL:
                return launch.num_rows
            case BlockRows.ONE_A_SLOT:
                return len(launch.slots)
            case BlockRows.FIXED:
                return block.rows

    def rows_of(self, block: Block) -> BlockRows:
        """Return the kind of a block's rows."""
        if not block.arena.has_rows:
            return BlockRows.FIXED
        if block.rows == self.sequence_rows:
            return BlockRows.ALL
        # If a launch has at most as many rows as there are sequences, `ALL` covers this kind.
        is_one = self.sequences > 1 and block.rows == self.sequences
        return BlockRows.ONE_A_SLOT if is_one else BlockRows.FIXED
