"""Cost cases of copies that stay for a backward pass."""

from __future__ import annotations

from onewafer.mesh.blocks import Arena
from onewafer.mesh.cost_case import OF_ONE, CostCase
from onewafer.mesh.recomputation.operations import Keep, Recall

COST_CASES = (
    CostCase(
        lambda sizes: Keep(sizes.block(Arena.STATE), sizes.block()),
        lengths=("elements",),
        is_of_singles=True,
        rows=OF_ONE,
    ),
    CostCase(
        lambda sizes: Recall(sizes.block(), sizes.block(Arena.STATE)),
        lengths=("elements",),
        is_of_singles=True,
        rows=OF_ONE,
    ),
)
