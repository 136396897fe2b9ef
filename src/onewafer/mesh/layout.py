"""Cut logical arrays into the blocks of the PEs, and reassemble them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.errors import HostError
from onewafer.graph import DataType
from onewafer.mesh.blocks import Distribution, InTurns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.mesh.blocks import Placement

_DTYPES = {DataType.F16: np.float16, DataType.F32: np.float32, DataType.I32: np.int32}


def numpy_dtype(dtype: DataType) -> np.dtype[Any]:
    """Return the NumPy dtype of a storage type."""
    return np.dtype(_DTYPES[dtype])


def num_blocks(distribution: Distribution, width: int, height: int) -> int:
    """Return the number of blocks that a dimension is cut into."""
    match distribution:
        case Distribution.BLOCKED_X:
            return width
        case Distribution.BLOCKED_Y:
            return height
        case Distribution.LOCAL:
            return 1


def pack(
    placement: Placement,
    array: NDArray[Any],
    width: int,
    height: int,
    *,
    factors: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Return the blocks `[height, width, num_elements]` of a logical array, padded with zeros.

    Values are multiplied in f32 by `factors`, the array of the placement's `input_factors`, and
    rounded to the storage type. Raises HostError if the shape is not the placement's.
    """
    if array.shape != placement.shape:
        raise HostError(
            f"{placement.role} {placement.name!r} has shape {array.shape}, "
            f"the program was built for {placement.shape}"
        )
    if placement.sample_groups > 1:
        groups, one = placement.sample_groups, placement.of_group
        parts = np.split(array, groups) if placement.is_cut else [array]
        packed = [pack(one, part, width, height // groups, factors=factors) for part in parts]
        return np.concatenate(packed if placement.is_cut else packed * groups)
    if factors is not None:
        with np.errstate(all="ignore"):
            array = array.astype(np.float32) * factors.astype(np.float32)
    if placement.num_matrices > 1:
        one = _first_matrix(placement)
        return np.concatenate([pack(one, part, width, height) for part in array], axis=-1)
    matrix = _to_matrix(array.astype(numpy_dtype(placement.dtype)), placement)
    rows, columns = placement.block.rows, placement.block.columns
    row_blocks = num_blocks(placement.rows, width, height)
    column_blocks = num_blocks(placement.columns, width, height)
    padding = (row_blocks * rows - matrix.shape[0], column_blocks * columns - matrix.shape[1])
    padded = np.pad(matrix, ((0, padding[0]), (0, padding[1])))
    blocks = padded.reshape(row_blocks, rows, column_blocks, columns).swapaxes(1, 2)
    row_index, column_index = _block_indices(placement, width, height)
    return np.ascontiguousarray(blocks[row_index, column_index]).reshape(height, width, -1)


def _first_matrix(placement: Placement) -> Placement:
    """Return the placement of the first of several matrices."""
    block = placement.block
    rows = block.rows // placement.num_matrices
    return replace(
        placement, shape=placement.shape[1:], block=replace(block, rows=rows), num_matrices=1
    )


def unpack(placement: Placement, blocks: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    """Return the logical array of blocks `[height, width, num_elements]`, the inverse of `pack`.

    The placement must store all rows. Of replicas, the PE nearest to (0, 0) is read.
    """
    rows, columns = placement.block.rows, placement.block.columns
    if blocks.shape != (height, width, rows * columns):
        raise HostError(
            f"blocks of {placement.name!r} have shape {blocks.shape}, "
            f"must be {(height, width, rows * columns)}"
        )
    if placement.sample_groups > 1:
        groups, one = placement.sample_groups, placement.of_group
        used = np.split(blocks, groups)[: groups if placement.is_cut else 1]
        return np.concatenate([unpack(one, part, width, height // groups) for part in used])
    if placement.num_matrices > 1:
        one = _first_matrix(placement)
        parts = np.split(blocks, placement.num_matrices, axis=-1)
        return np.stack([unpack(one, part, width, height) for part in parts])
    row_blocks = num_blocks(placement.rows, width, height)
    column_blocks = num_blocks(placement.columns, width, height)
    row_index, column_index = np.indices((row_blocks, column_blocks))
    index = {placement.rows: row_index, placement.columns: column_index}
    first = np.zeros_like(row_index)
    x = index.get(Distribution.BLOCKED_X, first)
    y = index.get(Distribution.BLOCKED_Y, first)
    whole = blocks.reshape(height, width, rows, columns)[y, x]
    padded = whole.swapaxes(1, 2).reshape(row_blocks * rows, column_blocks * columns)
    num_rows, num_columns = (index.size for index in _places(placement))
    return _from_matrix(padded[:num_rows, :num_columns], placement)


def _block_indices(
    placement: Placement, width: int, height: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the index of each PE's block of rows and of columns, both `[height, width]`."""
    y, x = np.indices((height, width))
    index = {
        Distribution.BLOCKED_X: x,
        Distribution.BLOCKED_Y: y,
        Distribution.LOCAL: np.zeros_like(x),
    }
    return index[placement.rows], index[placement.columns]


def held_indices(
    placement: Placement, width: int, height: int
) -> tuple[tuple[Distribution, list[NDArray[np.intp]]], ...]:
    """Return the distribution of rows and of columns, and the indices in each block.

    Rows are all dimensions but the last one, flattened. Of several matrices or sample groups, the
    first one is described.
    """
    if placement.sample_groups > 1:
        return held_indices(placement.of_group, width, height // placement.sample_groups)
    one = _first_matrix(placement) if placement.num_matrices > 1 else placement
    num_rows, num_columns = _matrix_shape(one)
    rows, columns = (index.reshape(-1) for index in _places(one))
    kept = [
        (distribution, [block[block < limit] for block in _cut(index, size, count)])
        for distribution, index, size, limit, count in (
            (one.rows, rows, one.block.rows, num_rows, num_blocks(one.rows, width, height)),
            (
                one.columns,
                columns,
                one.block.columns,
                num_columns,
                num_blocks(one.columns, width, height),
            ),
        )
    ]
    if one.is_transposed:
        return kept[1], kept[0]
    distribution, blocks = kept[1]  # a shared vector has several copies
    return kept[0], (distribution, [block % one.shape[-1] for block in blocks])


def _cut(index: NDArray[np.intp], size: int, count: int) -> list[NDArray[np.intp]]:
    return [index[block * size : (block + 1) * size] for block in range(count)]


def _matrix_shape(placement: Placement) -> tuple[int, int]:
    rows, columns = math.prod(placement.shape[:-1]), placement.shape[-1]
    if placement.is_transposed:
        return columns, rows
    return placement.num_rows or rows, columns * placement.copies


def _places(placement: Placement) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the indices of the logical rows and columns at each place on the wafer.

    The index behind the last column marks places without a column.
    """
    rows, columns = _matrix_shape(placement)
    return (
        placement.row_order.features(rows)[:, np.newaxis],
        placement.column_order.features(columns)[np.newaxis],
    )


def _to_matrix(array: NDArray[Any], placement: Placement) -> NDArray[Any]:
    matrix = array.reshape(-1, placement.shape[-1])
    if placement.is_transposed:
        matrix = matrix.T
    else:
        matrix = np.tile(matrix[: placement.num_rows], (1, placement.copies))
    if isinstance(placement.column_order, InTurns):
        matrix = np.pad(matrix, ((0, 0), (0, 1)))
    return matrix[_places(placement)]


def _from_matrix(matrix: NDArray[Any], placement: Placement) -> NDArray[Any]:
    rows, columns = _matrix_shape(placement)
    logical = np.empty((rows, columns + 1), matrix.dtype)
    logical[_places(placement)] = matrix
    logical = logical[:, :columns]
    logical = logical.T if placement.is_transposed else logical[:, : placement.shape[-1]]
    return np.ascontiguousarray(logical).reshape(placement.shape)
