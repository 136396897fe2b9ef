"""Norms of features over all rows of a sample; each PE has all rows of its features."""

from onewafer.mesh.batch_norms.operations import (
    BackFromBatchNorm,
    BackFromGroups,
    BatchStatistics,
    BatchVariance,
    NormalizeBatch,
    SumBatchProducts,
)

__all__ = [
    "BackFromBatchNorm",
    "BackFromGroups",
    "BatchStatistics",
    "BatchVariance",
    "NormalizeBatch",
    "SumBatchProducts",
]
