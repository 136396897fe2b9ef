"""Attention over a cache of keys and values."""

from onewafer.mesh.attention.cache import Append, Share
from onewafer.mesh.attention.carried import CarrySlots, ClearCarried, TransposeCache
from onewafer.mesh.attention.drops import DropScores
from onewafer.mesh.attention.factors import ScaleScores
from onewafer.mesh.attention.gradients import AddSlots, ScoresBackward, SumKeys, WeighProducts
from onewafer.mesh.attention.scores import BiasScores, BroadcastScores, ReduceScores, Score
from onewafer.mesh.attention.shape import AttentionShape
from onewafer.mesh.attention.sums import Divide, FindMaxima, SumValues, Weigh

__all__ = [
    "AddSlots",
    "Append",
    "AttentionShape",
    "BiasScores",
    "BroadcastScores",
    "CarrySlots",
    "ClearCarried",
    "Divide",
    "DropScores",
    "FindMaxima",
    "ReduceScores",
    "ScaleScores",
    "Score",
    "ScoresBackward",
    "Share",
    "SumKeys",
    "SumValues",
    "TransposeCache",
    "Weigh",
    "WeighProducts",
]
