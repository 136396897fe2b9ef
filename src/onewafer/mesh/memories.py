"""The memory of all PEs as NumPy arrays, one array `[height, width, elements]` an arena."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.graph import DataType
from onewafer.mesh.layout import numpy_dtype
from onewafer.mesh.program import Arena, Axis

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.mesh.program import Block, MeshProgram


class Memories:
    """The arenas of all PEs of a program, zero at first."""

    def __init__(self, program: MeshProgram) -> None:
        self._is_half = program.dtype is DataType.F16
        self._arenas: dict[Arena, NDArray[Any]] = {
            arena: np.zeros(
                (program.height, program.width, elements),
                np.float32 if arena is Arena.ACCUMULATOR else numpy_dtype(program.dtype),
            )
            for arena, elements in program.arena_elements.items()
        }

    @property
    def is_half(self) -> bool:
        """Whether the program stores f16."""
        return self._is_half

    def read(self, block: Block) -> NDArray[Any]:
        """Return a view `[height, width, num_elements]`."""
        return self._arenas[block.arena][..., block.offset : block.offset + block.num_elements]

    def matrix(self, block: Block) -> NDArray[Any]:
        """Return a view or copy `[height, width, rows, columns]`."""
        values = self.read(block)
        return values.reshape(*values.shape[:2], block.rows, block.columns)

    def along(self, axis: Axis, block: Block) -> NDArray[Any]:
        """Return a view `[across, along, num_elements]`."""
        values = self.read(block)
        return values if axis is Axis.X else values.swapaxes(0, 1)

    def write(self, block: Block, values: NDArray[Any]) -> None:
        """Store values of any shape with `[height, width]` in front."""
        target = self.read(block)
        target[...] = values.reshape(target.shape)
