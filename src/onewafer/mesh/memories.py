"""The memories of all PEs as NumPy arrays: `[height, width, elements]` for each arena."""

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
    """The arenas of all PEs of a program, initially zero, and the current launch.

    Methods that read or write a block cover the rows of the launch, which are its first rows.
    """

    def __init__(self, program: ProgramShape) -> None:
        self.launch: Launch = program.whole_launch()
        """The current launch; callers may replace it."""
        self.program = program
        self.is_half = program.dtype is DataType.F16
        self._arenas: dict[Arena, Array] = {
            arena: np.zeros((program.height, program.width, elements), program.element_type(arena))
            for arena, elements in program.arena_elements.items()
        }

    def num_rows(self, block: Block) -> int:
        """Return the number of a block's rows that the launch computes."""
        return self.program.num_rows(block, self.launch)

    def arena(self, arena: Arena) -> Array:
        """Return a whole arena, `[height, width, elements]`."""
        return self._arenas[arena]

    def whole(self, block: Block) -> Array:
        """Return a view of all rows of a block, `[height, width, num_elements]`."""
        return self.view(block, block.num_elements)

    def read(self, block: Block) -> Array:
        """Return a view of a block, `[height, width, elements]`."""
        return self.view(block, self.num_rows(block) * block.columns)

    def matrix(self, block: Block) -> Array:
        """Return a view or copy of a block, `[height, width, rows, columns]`."""
        return self.view(block, self.num_rows(block), block.columns)

    def view(self, block: Block, *shape: int) -> Array:
        """Return a view or copy `[height, width, …]` of the first elements of a block."""
        arena = self._arenas[block.arena]
        values = arena[..., block.offset : block.offset + math.prod(shape)]
        return values.reshape(*values.shape[:2], *shape)

    def along(self, axis: Axis, block: Block) -> Array:
        """Return a view of a block, `[across, along, elements]`."""
        values = self.read(block)
        return values if axis is Axis.X else values.swapaxes(0, 1)

    def at(self, axis: Axis) -> NDArray[np.intp]:
        """Return each PE's index along an axis (along y in its sample group), `[height, width]`."""
        y, x = np.indices((self.program.height, self.program.width))
        return x if axis is Axis.X else y % self.program.size(Axis.Y)

    def are_features(self, axis: Axis, columns: int, features: int) -> NDArray[np.bool_]:
        """Return which columns of a block are not padding, `[height, width, columns]`.

        The blocks lie along `axis` and have `features` in all.
        """
        first = self.at(axis)[..., np.newaxis] * columns
        return first + np.arange(columns) < features

    def without_padding(self, values: Array, axis: Axis, features: int) -> NDArray[np.float32]:
        """Return f32 values `[height, width, …, columns]` with +0 in the padding."""
        is_feature = self.are_features(axis, values.shape[-1], features)
        inner = tuple(range(2, values.ndim - 1))
        return np.where(np.expand_dims(is_feature, inner), values, np.float32(0))

    def write(self, block: Block, values: Array) -> None:
        """Store values `[height, width, …]` in the first elements of a block."""
        target = self.view(block, values.size // (self.program.height * self.program.width))
        target[...] = values.reshape(target.shape)

    def store(self, block: Block, values: NDArray[np.float32]) -> None:
        """Store f32 values, rounded to the program's dtype."""
        self.write(block, arithmetic.round_to_half(values) if self.is_half else values)
