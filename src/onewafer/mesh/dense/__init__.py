"""Linear operations: products of activations with weights."""

from onewafer.mesh.dense.operations import Factor, Matmul, Matmuls, Split

__all__ = ["Factor", "Matmul", "Matmuls", "Split"]
