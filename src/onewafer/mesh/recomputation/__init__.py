"""Recomputation: rows kept in the forward pass, from which a backward pass recomputes layers."""

from onewafer.mesh.recomputation.operations import Keep, Recall

__all__ = ["Keep", "Recall"]
