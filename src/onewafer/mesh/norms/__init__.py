"""Norms and softmax: operations on groups of features."""

from onewafer.mesh.norms.arrays import Groups
from onewafer.mesh.norms.operations import (
    Normalize,
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
    "StoreNormalized",
    "SumGroups",
    "SumRowSquares",
    "SumSquares",
    "WeighGroups",
]
