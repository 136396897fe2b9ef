"""Read a mesh program with NumPy: PE memories as arrays, operation after operation.

The memory of all PEs is one array `[height, width, elements]` an arena. Every element is computed
from the same operands in the same order and with the same roundings as on the fabric, so that both
agree in every bit (NaNs: in being NaN).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

import numpy as np

from onewafer.errors import HostError
from onewafer.graph import DataType
from onewafer.mesh import arithmetic
from onewafer.mesh.layout import numpy_dtype, pack, unpack
from onewafer.mesh.program import (
    Add,
    AddBias,
    Arena,
    Axis,
    Broadcast,
    ChainReduce,
    Convert,
    Matmul,
    Relu,
    Role,
    Turn,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from onewafer.mesh.program import Block, MeshOperation, MeshProgram

    Arrays = Mapping[str, NDArray[Any]]


def evaluate(program: MeshProgram, inputs: Arrays, parameters: Arrays) -> dict[str, NDArray[Any]]:
    """Return the outputs by name, in the program's dtype, for logical inputs and parameters.

    Raises HostError for a missing array or a wrong shape.
    """
    memories = _Memories(program)
    for placement in program.placements:
        if placement.role is Role.OUTPUT:
            continue
        source = inputs if placement.role is Role.INPUT else parameters
        if placement.name not in source:
            raise HostError(f"the {placement.role} {placement.name!r} is missing")
        blocks = pack(placement, source[placement.name], program.width, program.height)
        memories.write(placement.block, blocks)
    for operation in program.operations:
        _execute(operation, memories)
    return {
        placement.name: unpack(
            placement, memories.read(placement.block), program.width, program.height
        )
        for placement in program.with_role(Role.OUTPUT)
    }


class _Memories:
    """The arenas of all PEs."""

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
        return self._is_half

    def read(self, block: Block) -> NDArray[Any]:
        """Return a view `[height, width, num_elements]`."""
        return self._arenas[block.arena][..., block.offset : block.offset + block.num_elements]

    def matrix(self, block: Block) -> NDArray[Any]:
        """Return a view or copy `[height, width, rows, columns]`."""
        values = self.read(block)
        return values.reshape(*values.shape[:2], block.rows, block.columns)

    def write(self, block: Block, values: NDArray[Any]) -> None:
        """Store values of any shape with `[height, width]` in front."""
        target = self.read(block)
        target[...] = values.reshape(target.shape)


def _execute(operation: MeshOperation, memories: _Memories) -> None:
    match operation:
        case Matmul():
            _multiply(operation, memories)
        case Turn():
            memories.write(operation.result, _share(operation, memories))
        case ChainReduce():
            _reduce(operation, memories)
        case Broadcast():
            values = _along(operation.axis, memories.read(operation.values))
            values[:, 1:] = values[:, :1]
        case Convert():
            sums = memories.read(operation.input)
            memories.write(operation.result, arithmetic.round_to_half(sums))
        case AddBias():
            rows = arithmetic.add(memories.matrix(operation.input), memories.matrix(operation.bias))
            memories.write(operation.result, rows)
        case Relu():
            memories.write(operation.result, arithmetic.relu(memories.read(operation.input)))
        case Add():
            total = arithmetic.add(memories.read(operation.left), memories.read(operation.right))
            memories.write(operation.result, total)
        case _:
            assert_never(operation)


def _along(axis: Axis, values: NDArray[Any]) -> NDArray[Any]:
    """Return a view `[across, along, elements]`."""
    return values if axis is Axis.X else values.swapaxes(0, 1)


def _multiply(operation: Matmul, memories: _Memories) -> None:
    operand = memories.matrix(operation.input).astype(np.float32)
    weight = memories.matrix(operation.weight).astype(np.float32)
    sums = np.zeros((*operand.shape[:3], operation.result.columns), np.float32)
    for k in range(operation.weight.rows):
        column, row = operand[..., k, np.newaxis], weight[..., np.newaxis, k, :]
        if memories.is_half:  # the product of two f16 is exact in f32
            sums = arithmetic.add(sums, arithmetic.multiply(column, row))
        else:
            sums = arithmetic.fused_multiply_add(sums, column, row)
    y, x = np.indices(sums.shape[:2])[..., np.newaxis, np.newaxis]
    first = (x if operation.axis is Axis.X else y) * operation.result.columns
    is_feature = first + np.arange(operation.result.columns) < operation.features
    memories.write(operation.result, np.where(is_feature, sums, np.float32(0.0)))


def _share(operation: Turn, memories: _Memories) -> NDArray[Any]:
    """Return for each PE the features of the result that its input holds, −0 for the others."""
    source = memories.matrix(operation.input).astype(np.float32)
    y, x = np.indices(source.shape[:2])[..., np.newaxis]
    to, along = (x, y) if operation.axis is Axis.X else (y, x)
    columns = operation.result.columns
    index = to * columns + np.arange(columns) - along * operation.input.columns
    index = index[:, :, np.newaxis]
    is_held = (index >= 0) & (index < operation.input.columns)
    held = np.take_along_axis(source, np.where(is_held, index, 0), axis=-1)
    return np.where(is_held, held, np.float32(-0.0))


def _reduce(operation: ChainReduce, memories: _Memories) -> None:
    values = _along(operation.axis, memories.read(operation.values))
    total = values[:, -1]
    for index in range(values.shape[1] - 2, -1, -1):
        total = arithmetic.add(values[:, index], total)
    values[:, 0] = total
