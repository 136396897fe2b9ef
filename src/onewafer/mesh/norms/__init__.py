"""Norms and softmax over groups of features."""

from onewafer.mesh.norms.arrays import Groups
from onewafer.mesh.norms.operations import (
    Normalize,
    SpreadGroups,
    StoreNormalized,
    SumGroups,
    SumRowSquares,
    SumSquares,
)
from onewafer.mesh.norms.softmax_operations import DivideGroups, FindGroupMaxima, WeighGroups

__all__ = [
    "DivideGroups",
    "FindGroupMaxima",
    "Groups",
    "Normalize",
    "SpreadGroups",
    "StoreNormalized",
    "SumGroups",
    "SumRowSquares",
    "SumSquares",
    "WeighGroups",
]
