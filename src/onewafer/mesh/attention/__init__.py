"""Attention over a cache of keys and values."""

from onewafer.mesh.attention.operations import (
    Append,
    BiasScores,
    BroadcastScores,
    Divide,
    FindMaxima,
    ReduceScores,
    Score,
    Share,
    SumValues,
    Weigh,
)
from onewafer.mesh.attention.shape import AttentionShape

__all__ = [
    "Append",
    "AttentionShape",
    "BiasScores",
    "BroadcastScores",
    "Divide",
    "FindMaxima",
    "ReduceScores",
    "Score",
    "Share",
    "SumValues",
    "Weigh",
]
