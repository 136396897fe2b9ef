"""Collectives along an axis, and what leads to them and from them."""

from onewafer.mesh.collectives.operations import (
    Broadcast,
    BroadcastStore,
    ChainMax,
    ChainReduce,
    Convert,
    Redistribute,
)

__all__ = ["Broadcast", "BroadcastStore", "ChainMax", "ChainReduce", "Convert", "Redistribute"]
