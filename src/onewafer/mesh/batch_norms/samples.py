"""Samples of norms over a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.mesh.batch_norms.operations import (
    BackFromBatchNorm,
    BatchStatistics,
    BatchVariance,
    NormalizeBatch,
    SumBatchProducts,
)
from onewafer.mesh.blocks import Arena, Block, RowKind
from onewafer.mesh.sample import Sample, Sizes, grid

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.mesh.operation import MeshOperation

_EPSILON = 0.5


def _row(sizes: Sizes) -> Block:
    return sizes.row(arena=Arena.ACTIVATIONS)


def _statistics(sizes: Sizes) -> BatchStatistics:
    return BatchStatistics(_row(sizes), _row(sizes), _EPSILON)


def _room(sizes: Sizes) -> Block:
    return Block(Arena.ACTIVATIONS, 0, 1, sizes.rows)


def _back(sizes: Sizes) -> MeshOperation:
    block, row = sizes.block(), _row(sizes)
    found = _statistics(sizes)
    return BackFromBatchNorm(block, block, block, found, sizes.row(), row, row)


def _normalize(sizes: Sizes) -> MeshOperation:
    vectors = sizes.row(), sizes.row()
    return NormalizeBatch(sizes.block(), sizes.block(), _statistics(sizes), *vectors)


def _sum(sizes: Sizes) -> MeshOperation:
    blocks = _row(sizes), sizes.block(), sizes.block()
    return SumBatchProducts(*blocks, _statistics(sizes), _room(sizes))


def _sample(build: Callable[[Sizes], MeshOperation]) -> Sample:
    return Sample(
        build,
        rounds=("columns",),
        lengths=("rows",),
        strides=("columns",),
        grid=grid(rows=(5, 6, 7), columns=(2, 3)),
        is_of_singles=True,
        rows=frozenset({RowKind.INDEPENDENT}),
    )


SAMPLES = (
    _sample(lambda sizes: BatchVariance(_row(sizes), sizes.block(), _row(sizes), _room(sizes))),
    _sample(_normalize),
    _sample(_sum),
    _sample(_back),
)
