"""Optimizers: steps on parameters and their states, and the clipping of gradients, on the wafer."""

from onewafer.mesh.optimizers.clipping import AddSquares, ClampGradients, ScaleGradients
from onewafer.mesh.optimizers.numbers import Adam, AdamW, Optimizer, Sgd
from onewafer.mesh.optimizers.operations import (
    MOMENTS,
    MOST_NUMBERS,
    NUMBERS,
    SQUARES,
    AdamStep,
    ClearGradients,
    MomentumStep,
    SgdStep,
    StepOperation,
)

__all__ = [
    "MOMENTS",
    "MOST_NUMBERS",
    "NUMBERS",
    "SQUARES",
    "Adam",
    "AdamStep",
    "AdamW",
    "AddSquares",
    "ClampGradients",
    "ClearGradients",
    "MomentumStep",
    "Optimizer",
    "ScaleGradients",
    "Sgd",
    "SgdStep",
    "StepOperation",
]
