"""Cost cases of the steps of losses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.mesh.blocks import Arena, Axis, Block
from onewafer.mesh.cost_case import OF_GROUPS, OF_TRAINING, CostCase, Sizes, grid
from onewafer.mesh.losses.operations import (
    SUMS_OF_ROW,
    AddUpTargets,
    CountTargets,
    CrossEntropyBackward,
    MeanOfTargets,
    Targets,
)
from onewafer.mesh.losses.weighted import (
    ROWS_OF_ROOM,
    SUMS_OF_WEIGHTED_ROW,
    AddUpWeighted,
    AddUpWeights,
    MeanOfWeighted,
    Weighted,
    WeightedLossBackward,
)
from onewafer.mesh.sizes import CHUNK

if TYPE_CHECKING:
    from onewafer.mesh.operation import MeshOperation

_ROWS = 5
"""The most rows of a case."""
_BEHIND = 2 * CHUNK * _ROWS


def _targets(sizes: Sizes) -> Targets:
    """Return targets none of which is on the measured PE."""
    indices = Block(Arena.INDICES, 0, sizes.rows, 1)
    maxima = Block(Arena.ACTIVATIONS, _BEHIND, sizes.rows, 1)
    classes = 4 * sizes.columns
    return Targets(sizes.block(), indices, maxima, Axis.X, classes, ignored=-100, is_mean=True)


def _sums(sizes: Sizes) -> Block:
    return Block(Arena.ACTIVATIONS, _BEHIND, sizes.rows, SUMS_OF_ROW)


def _add_up(sizes: Sizes) -> MeshOperation:
    return AddUpTargets(_sums(sizes), sizes.row(arena=Arena.ACTIVATIONS), _targets(sizes))


def _mean(sizes: Sizes) -> MeshOperation:
    return MeanOfTargets(Block(Arena.ACTIVATIONS, 0, 1, 1), _sums(sizes), _targets(sizes))


def _back(sizes: Sizes) -> MeshOperation:
    seed = Block(Arena.ACTIVATIONS, _BEHIND, 1, 1)
    return CrossEntropyBackward(sizes.block(), _sums(sizes), seed, _targets(sizes))


def _weighted(sizes: Sizes) -> Weighted:
    """Return a weighted loss: `inner` 1 has stored weights, 4 smoothing, 7 logarithms as input."""
    room = Block(Arena.ACTIVATIONS, 2 * _BEHIND, ROWS_OF_ROOM, sizes.columns)
    weights = sizes.row() if sizes.inner == _STORED else None
    shared = 0.1 if sizes.inner == _SMOOTHED else 0.0
    is_logarithm = sizes.inner == _OF_LOGARITHMS
    return Weighted(_targets(sizes), room, weights, shared, 0.9, is_logarithm)


def _weighted_sums(sizes: Sizes) -> Block:
    return Block(Arena.ACTIVATIONS, _BEHIND, sizes.rows, SUMS_OF_WEIGHTED_ROW)


def _mean_weighted(sizes: Sizes) -> MeshOperation:
    loss = Block(Arena.ACTIVATIONS, 0, 1, 1)
    return MeanOfWeighted(loss, _weighted_sums(sizes), _weighted(sizes))


def _count(sizes: Sizes) -> MeshOperation:
    return CountTargets(Block(Arena.ACTIVATIONS, 0, 1, 1), _targets(sizes))


def _add_up_weights(sizes: Sizes) -> MeshOperation:
    count = Block(Arena.ACTIVATIONS, 0, 1, 1)
    return AddUpWeights(count, _weighted_sums(sizes), _weighted(sizes))


def _back_weighted(sizes: Sizes) -> MeshOperation:
    seed = Block(Arena.ACTIVATIONS, _BEHIND, 1, 1)
    return WeightedLossBackward(sizes.block(), _weighted_sums(sizes), seed, _weighted(sizes))


_STORED, _SMOOTHED, _OF_LOGARITHMS = 1, 4, 7
_WEIGHTED_GRID = grid(
    rows=(2, 3, _ROWS),
    columns=(CHUNK, 2 * CHUNK),
    inner=(_STORED, _SMOOTHED, _OF_LOGARITHMS),
)
_WEIGHTED_ROUNDS = (
    *("plain", "smoothed", "rows", "rows*smoothed", "rows*shares", "rows*chunks*shares"),
)
_GRID = grid(rows=(2, 3, _ROWS), columns=(CHUNK, 2 * CHUNK))
_ROUNDS = ("rows", "rows*chunks")

COST_CASES = (
    CostCase(
        _add_up,
        rounds=_ROUNDS,
        lengths=("columns", "chunk"),
        grid=_GRID,
        is_of_singles=True,
        rows=OF_TRAINING,
    ),
    CostCase(_mean, rounds=("rows",), grid=_GRID, is_of_singles=True, rows=OF_TRAINING),
    CostCase(
        _back,
        rounds=_ROUNDS,
        lengths=("elements", "columns", "chunk"),
        grid=_GRID,
        is_of_singles=True,
        rows=OF_TRAINING,
    ),
    CostCase(
        lambda sizes: AddUpWeighted(_weighted_sums(sizes), _weighted(sizes)),
        rounds=_WEIGHTED_ROUNDS,
        lengths=("columns", "chunk", "sums"),
        grid=_WEIGHTED_GRID,
        is_of_singles=True,
        rows=OF_TRAINING,
    ),
    CostCase(
        _mean_weighted,
        rounds=("plain", "rows"),
        lengths=("columns",),
        grid=_WEIGHTED_GRID,
        is_of_singles=True,
        rows=OF_TRAINING,
    ),
    CostCase(
        _back_weighted,
        rounds=_WEIGHTED_ROUNDS,
        lengths=("elements", "columns", "chunk"),
        grid=_WEIGHTED_GRID,
        is_of_singles=True,
        rows=OF_TRAINING,
    ),
    CostCase(_count, rounds=("rows",), grid=_GRID, is_of_singles=True, rows=OF_GROUPS),
    CostCase(
        _add_up_weights,
        rounds=("rows",),
        grid=_WEIGHTED_GRID,
        is_of_singles=True,
        rows=OF_GROUPS,
    ),
)
