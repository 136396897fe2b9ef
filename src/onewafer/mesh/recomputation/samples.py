"""Samples of copies that stay for a backward pass."""

from __future__ import annotations

from onewafer.mesh.blocks import Arena
from onewafer.mesh.recomputation.operations import Keep, Recall
from onewafer.mesh.sample import OF_ONE, Sample

SAMPLES = (
    Sample(
        lambda sizes: Keep(sizes.block(Arena.STATE), sizes.block()),
        lengths=("elements",),
        is_of_singles=True,
        rows=OF_ONE,
    ),
    Sample(
        lambda sizes: Recall(sizes.block(), sizes.block(Arena.STATE)),
        lengths=("elements",),
        is_of_singles=True,
        rows=OF_ONE,
    ),
)
