"""Losses, and the gradients that backward passes begin with."""

from onewafer.mesh.losses.operations import (
    SUMS_OF_ROW,
    AddUpTargets,
    CrossEntropyBackward,
    MeanOfTargets,
    Targets,
)

__all__ = ["SUMS_OF_ROW", "AddUpTargets", "CrossEntropyBackward", "MeanOfTargets", "Targets"]
