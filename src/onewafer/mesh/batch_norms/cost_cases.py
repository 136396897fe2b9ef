"""Cost cases of norms over a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.mesh import batch_norms as mesh
from onewafer.mesh.blocks import Arena, Block
from onewafer.mesh.cost_case import OF_SAMPLES, CostCase, Sizes, grid

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.mesh.operation import MeshOperation

_EPSILON = 0.5


def _maps(sizes: Sizes) -> Block:
    """Return a block of `group` samples with `rows` rows each."""
    return Block(Arena.ACTIVATIONS, 0, sizes.group * sizes.rows, sizes.columns)


def _rows(sizes: Sizes) -> Block:
    """Return a block with a row for each sample."""
    return Block(Arena.ACTIVATIONS, 0, sizes.group, sizes.columns)


def _statistics(sizes: Sizes) -> mesh.BatchStatistics:
    return mesh.BatchStatistics(_rows(sizes), _rows(sizes), _EPSILON)


def _room(sizes: Sizes) -> Block:
    return Block(Arena.ACTIVATIONS, 0, 1, sizes.rows)


def _back(sizes: Sizes) -> MeshOperation:
    block, row = sizes.block(), sizes.row(arena=Arena.ACTIVATIONS)
    found = mesh.BatchStatistics(row, row, _EPSILON)
    return mesh.BatchNormBackward(block, block, block, found, sizes.row(), row, row)


def _back_from_groups(sizes: Sizes) -> MeshOperation:
    maps, rows = _maps(sizes), _rows(sizes)
    return mesh.GroupNormBackward(maps, maps, maps, _statistics(sizes), sizes.row(), rows, rows)


def _normalize(sizes: Sizes) -> MeshOperation:
    vectors = sizes.row(), sizes.row()
    return mesh.NormalizeBatch(_maps(sizes), _maps(sizes), _statistics(sizes), *vectors)


def _sum(sizes: Sizes) -> MeshOperation:
    blocks = _rows(sizes), _maps(sizes), _maps(sizes)
    return mesh.SumBatchProducts(*blocks, _statistics(sizes), _room(sizes))


def _spread(sizes: Sizes) -> MeshOperation:
    return mesh.BatchVariance(_rows(sizes), _maps(sizes), _rows(sizes), _room(sizes))


def _case(build: Callable[[Sizes], MeshOperation], *, has_samples: bool = True) -> CostCase:
    samples = {"group": (1, 2, 4)} if has_samples else {}
    return CostCase(
        build,
        rounds=("samples", "samples*columns") if has_samples else ("columns",),
        lengths=("rows",),
        strides=("columns",),
        grid=grid(rows=(5, 6, 7), columns=(2, 3), **samples),
        is_of_singles=True,
        rows=OF_SAMPLES,
    )


COST_CASES = (
    _case(_spread),
    _case(_normalize),
    _case(_sum),
    _case(_back, has_samples=False),
    _case(_back_from_groups),
)
