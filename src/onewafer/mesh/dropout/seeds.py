"""Where the seeds of launches are."""

from __future__ import annotations

from onewafer.graph import NUM_SEEDS, SEEDS, DataType
from onewafer.mesh.blocks import Arena, Block, Distribution, Placement, Role

SEEDS_ARENA = Arena("seeds", "i32")
"""The seeds of a launch, which all PEs have."""
SEEDS_BLOCK = Block(SEEDS_ARENA, 0, 1, NUM_SEEDS)


def place_seeds(entry: str | None) -> Placement:
    """Return the place of the seeds, which the host writes before an entry; None: the only one."""
    return Placement(
        name=SEEDS,
        role=Role.INPUT,
        shape=(1, NUM_SEEDS),
        dtype=DataType.I32,
        rows=Distribution.LOCAL,
        columns=Distribution.LOCAL,
        block=SEEDS_BLOCK,
        entries=() if entry is None else (entry,),
    )
