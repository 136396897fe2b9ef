"""Backward passes: gradients of activations, and accumulated gradients of parameters."""

from onewafer.mesh.gradients.operations import (
    AddOuterProducts,
    AddRows,
    MultiplyTransposed,
    ReluGradient,
)

__all__ = ["AddOuterProducts", "AddRows", "MultiplyTransposed", "ReluGradient"]
