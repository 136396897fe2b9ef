"""Samples of dropouts that PEs draw."""

from __future__ import annotations

from onewafer.mesh.blocks import Axis
from onewafer.mesh.dropout.operations import Draws, Dropout
from onewafer.mesh.sample import OF_TRAINING, Sample, Sizes, grid
from onewafer.mesh.sizes import CHUNK

_DRAWS = Draws(3, 1 << 14, 2.0)


def _dropout(sizes: Sizes) -> Dropout:
    return Dropout(sizes.block(), sizes.block(), Axis.X, _DRAWS)


_GRID = (
    *grid(rows=(4, 8), columns=(CHUNK, 2 * CHUNK)),
    *grid(rows=(4, 6, 8, 16), columns=(CHUNK // 2,)),
    *grid(rows=(4, 6, 22), columns=(11,)),
)
"""Parts are equally large, and larger than a row."""
SAMPLES = (
    Sample(
        _dropout,
        rounds=("columns", "strips", "strips*pairs", "strips*parts"),
        lengths=("strip", "part"),
        grid=_GRID,
        is_of_singles=True,
        rows=OF_TRAINING,
    ),
)
