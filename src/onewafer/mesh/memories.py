"""The memory of all PEs as NumPy arrays, one array `[height, width, elements]` an arena."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.graph import DataType
from onewafer.mesh import arithmetic
from onewafer.mesh.blocks import Arena, Axis

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.mesh.blocks import Block, Launch
    from onewafer.mesh.program_shape import ProgramShape

    Array = NDArray[Any]


class Memories:
    """The arenas of all PEs of a program, zero at first, and the launch that works on them.

    What is read and written of a block are the rows that the launch has, the first ones.
    """

    def __init__(self, program: ProgramShape) -> None:
        self.launch: Launch = program.whole_launch()
        """May be set to another one."""
        self.program = program
        self.is_half = program.dtype is DataType.F16
        self._arenas: dict[Arena, Array] = {
            arena: np.zeros((program.height, program.width, elements), program.element_type(arena))
            for arena, elements in program.arena_elements.items()
        }

    def num_rows(self, block: Block) -> int:
        """Return how many rows of a block the launch works on."""
        return self.program.num_rows(block, self.launch)

    def arena(self, arena: Arena) -> Array:
        """Return all of an arena, `[height, width, elements]`."""
        return self._arenas[arena]

    def whole(self, block: Block) -> Array:
        """Return a view `[height, width, num_elements]` with all rows."""
        return self.view(block, block.num_elements)

    def read(self, block: Block) -> Array:
        """Return a view `[height, width, elements]`."""
        return self.view(block, self.num_rows(block) * block.columns)

    def matrix(self, block: Block) -> Array:
        """Return a view or copy `[height, width, rows, columns]`."""
        return self.view(block, self.num_rows(block), block.columns)

    def view(self, block: Block, *shape: int) -> Array:
        """Return a view or copy `[height, width, …]` of the first elements of a block."""
        arena = self._arenas[block.arena]
        values = arena[..., block.offset : block.offset + math.prod(shape)]
        return values.reshape(*values.shape[:2], *shape)

    def along(self, axis: Axis, block: Block) -> Array:
        """Return a view `[across, along, elements]`."""
        values = self.read(block)
        return values if axis is Axis.X else values.swapaxes(0, 1)

    def at(self, axis: Axis) -> NDArray[np.intp]:
        """Return the place of each PE along an axis, in its group along y, `[height, width]`."""
        y, x = np.indices((self.program.height, self.program.width))
        return x if axis is Axis.X else y % self.program.size(Axis.Y)

    def are_features(self, axis: Axis, columns: int, features: int) -> NDArray[np.bool_]:
        """Return which columns of a block are no padding, `[height, width, columns]`.

        Blocks are along an axis, and have that many features all together.
        """
        first = self.at(axis)[..., np.newaxis] * columns
        return first + np.arange(columns) < features

    def without_padding(self, values: Array, axis: Axis, features: int) -> NDArray[np.float32]:
        """Return f32 values `[height, width, …, columns]` with +0 in the columns of padding."""
        is_feature = self.are_features(axis, values.shape[-1], features)
        inner = tuple(range(2, values.ndim - 1))
        return np.where(np.expand_dims(is_feature, inner), values, np.float32(0))

    def write(self, block: Block, values: Array) -> None:
        """Store values of any shape with `[height, width]` in front."""
        target = self.view(block, values.size // (self.program.height * self.program.width))
        target[...] = values.reshape(target.shape)

    def store(self, block: Block, values: NDArray[np.float32]) -> None:
        """Store f32 values, rounded to the program's type."""
        self.write(block, arithmetic.round_to_half(values) if self.is_half else values)
