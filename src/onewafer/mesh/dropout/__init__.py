"""Dropout with factors drawn on the PEs: `dropout.csl`, from seeds that the host sends."""

from onewafer.mesh.dropout.operations import (
    DROPOUT,
    SEEDS_ARENA,
    Dropout,
    Strips,
    draw_words,
    factors_at,
    place_seeds,
)

__all__ = [
    "DROPOUT",
    "SEEDS_ARENA",
    "Dropout",
    "Strips",
    "draw_words",
    "factors_at",
    "place_seeds",
]
