"""Norms of features over all rows of a sample; each PE has all rows of its features."""

from onewafer.mesh.batch_norms.operations import (
    BatchNormBackward,
    BatchStatistics,
    BatchVariance,
    GroupNormBackward,
    NormalizeBatch,
    SumBatchProducts,
)

__all__ = [
    "BatchNormBackward",
    "BatchStatistics",
    "BatchVariance",
    "GroupNormBackward",
    "NormalizeBatch",
    "SumBatchProducts",
]
