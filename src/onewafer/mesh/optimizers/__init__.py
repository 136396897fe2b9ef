"""Optimizers: their steps on parameters that are on the wafer, with what they keep of each."""

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
    "ClearGradients",
    "MomentumStep",
    "Optimizer",
    "Sgd",
    "SgdStep",
    "StepOperation",
]
