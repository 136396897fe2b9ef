"""Losses of a batch of sequences: a launch gives that of one, and the host adds them up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onewafer.errors import UnsupportedOperationError
from onewafer.graph import CrossEntropy, ElementLoss, NegativeLogLikelihood, Reduction

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from onewafer.graph import Operation


@dataclass(frozen=True, slots=True)
class JoinedLoss:
    """How the losses of sequences become that of all of them: by a sum, which may be divided."""

    is_mean: bool
    targets: str | None = None
    """The input whose rows count in a mean; None: a mean of as many means as there are sequences.
    """
    ignored: int = 0
    """The target of rows that do not count."""

    def divisor(self, inputs: Mapping[str, torch.Tensor], sequences: int) -> float:
        """Return what the sum is divided by, in a call with these inputs."""
        if not self.is_mean:
            return 1.0
        if self.targets is None:
            return float(sequences)
        return float((inputs[self.targets] != self.ignored).sum())


def join_losses(operation: Operation) -> tuple[Operation, JoinedLoss]:
    """Return a loss for one sequence, and how those of several become that of all of them.

    Raises UnsupportedOperationError if they do not.
    """
    is_mean = getattr(operation, "reduction", None) is Reduction.MEAN
    match operation:
        case CrossEntropy(weights=None) | NegativeLogLikelihood(weights=None):
            joined = JoinedLoss(is_mean, operation.targets, operation.ignored)
            return replace(operation, reduction=Reduction.SUM), joined
        case ElementLoss():
            return operation, JoinedLoss(is_mean)
        case _:
            raise UnsupportedOperationError(
                "a loss of several sequences with weights of classes is not supported"
            )
