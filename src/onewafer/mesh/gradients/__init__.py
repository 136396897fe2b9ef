"""Backward passes: gradients of activations, and of parameters onto what is there."""

from onewafer.mesh.gradients.operations import (
    AddOuterProducts,
    AddRows,
    MultiplyTransposed,
    ReluGradient,
)

__all__ = ["AddOuterProducts", "AddRows", "MultiplyTransposed", "ReluGradient"]
