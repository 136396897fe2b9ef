"""Collectives along an axis, and the local operations before and after them."""

from onewafer.mesh.collectives.operations import (
    Broadcast,
    BroadcastStore,
    ChainMax,
    ChainReduce,
    Convert,
    Redistribute,
)

__all__ = ["Broadcast", "BroadcastStore", "ChainMax", "ChainReduce", "Convert", "Redistribute"]
