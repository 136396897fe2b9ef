"""Recomputation: what a backward pass computes again begins with rows that were kept for it."""

from onewafer.mesh.recomputation.operations import Keep, Recall

__all__ = ["Keep", "Recall"]
