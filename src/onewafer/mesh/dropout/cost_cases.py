"""Cost cases of dropouts that PEs draw."""

from __future__ import annotations

from dataclasses import replace

from onewafer.graph import NUM_SEEDS, Draw
from onewafer.mesh.blocks import Axis
from onewafer.mesh.cost_case import OF_TRAINING, CostCase, Sizes, grid
from onewafer.mesh.dropout.operations import Dropout
from onewafer.mesh.sizes import CHUNK

DRAW = Draw(3, 1 << 14, 1 << 16)


def _dropout(sizes: Sizes) -> Dropout:
    result = replace(sizes.block(), offset=int(sizes.is_apart))
    return Dropout(result, sizes.block(), Axis.X, DRAW)


def seeds(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Return the seeds of a launch; the last word enables drawing."""
    is_drawing = int(not sizes.is_evaluation)
    return {"model.seeds": (*(0,) * (2 * NUM_SEEDS - 2), is_drawing, 0)}


_GRID = (
    *grid(rows=(4, 8), columns=(CHUNK, 2 * CHUNK)),
    *grid(rows=(4, 6, 8, 16), columns=(CHUNK // 2,)),
    *grid(rows=(4, 6, 22), columns=(11,)),
    *grid(rows=(4, 8), columns=(11,), is_evaluation=(True,), is_apart=(False, True)),
)
"""Sizes whose parts are equal, and larger than a row."""
COST_CASES = (
    CostCase(
        _dropout,
        rounds=(
            *("drawn", "drawn*columns", "drawn*strips", "drawn*strips*pairs"),
            *("drawn*strips*parts", "copied"),
        ),
        lengths=("strip", "part", "elements"),
        grid=_GRID,
        is_of_singles=True,
        rows=OF_TRAINING,
        memory=seeds,
    ),
)
