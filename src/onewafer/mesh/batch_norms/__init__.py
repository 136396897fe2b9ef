"""Norms of each feature over all rows of a launch; each PE has all rows of its features."""

from onewafer.mesh.batch_norms.operations import (
    BackFromBatchNorm,
    BatchStatistics,
    BatchVariance,
    NormalizeBatch,
    SumBatchProducts,
)

__all__ = [
    "BackFromBatchNorm",
    "BatchStatistics",
    "BatchVariance",
    "NormalizeBatch",
    "SumBatchProducts",
]
