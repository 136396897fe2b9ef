"""Calls that take several launches: parts of a batch, or of a sequence; the host adds losses up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onewafer.errors import UnsupportedOperationError
from onewafer.graph import (
    Attention,
    CrossEntropy,
    ElementLoss,
    FirstRow,
    LastRow,
    NegativeLogLikelihood,
    OnSamples,
    Reduction,
    RowAt,
    num_samples,
    with_rows,
    with_samples,
)
from onewafer.pytorch.lowering.nouns import noun_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from onewafer.graph import Graph, Operation


@dataclass(frozen=True, slots=True)
class JoinedLoss:
    """How the host joins the losses of several launches: by a sum, which is divided for a mean."""

    is_mean: bool
    targets: str | None = None
    """The input of classes, whose rows count in a mean; None: the mean of the launches' means."""
    ignored: int = 0
    """The target value of rows that the loss ignores."""

    def divisor(self, inputs: Mapping[str, torch.Tensor], sequences: int) -> float:
        """Return the divisor of the sum in a call with these inputs."""
        if not self.is_mean:
            return 1.0
        if self.targets is None:
            return float(sequences)
        return float((inputs[self.targets] != self.ignored).sum())


def join_losses(operation: Operation) -> tuple[Operation, JoinedLoss]:
    """Return a loss for one launch, and how those of several launches are joined.

    Raises UnsupportedOperationError if they cannot be.
    """
    is_mean = getattr(operation, "reduction", None) is Reduction.MEAN
    match operation:
        case CrossEntropy(weights=None) | NegativeLogLikelihood(weights=None):
            joined = JoinedLoss(is_mean, operation.targets, operation.ignored)
            return replace(operation, reduction=Reduction.SUM), joined
        case ElementLoss():
            return operation, JoinedLoss(is_mean)
        case CrossEntropy() | NegativeLogLikelihood():
            raise UnsupportedOperationError(
                "a loss of several launches with weights of classes is not supported"
            )
        case _:
            raise UnsupportedOperationError(f"{noun_of(operation)} is of all samples of a batch")


def part_sizes(graph: Graph) -> tuple[int, ...]:
    """Return the numbers of samples that parts of a batch may have, the largest first.

    Parts are equal if the graph has a loss over rows; else the last one may be padded.
    """
    samples = num_samples(graph)
    if graph.joins_rows:
        return (*(size for size in range(samples // 2, 0, -1) if samples % size == 0),)
    return (*(1 << power for power in reversed(range((samples - 1).bit_length()))),)


def cut_batch(graph: Graph, samples: int) -> tuple[Graph, Mapping[str, JoinedLoss]]:
    """Return the graph for so many samples of its batch, and how its losses are joined.

    Raises UnsupportedOperationError if another operation than a loss joins samples.
    """
    found, joined = _join_all(graph)
    return with_samples(found, samples), joined


def tile_sizes(graph: Graph) -> tuple[int, ...]:
    """Return the numbers of rows that equal launches of a sequence may have, largest first."""
    rows = graph.inputs[0].shape[0]
    return (*(size for size in range(rows // 2, 0, -1) if rows % size == 0),)


def cut_sequence(graph: Graph, rows: int) -> tuple[Graph, Mapping[str, JoinedLoss]]:
    """Return the graph for so many rows of its sequence, and how its losses are joined.

    Raises UnsupportedOperationError if a row depends on rows behind it, or on the whole sequence.
    """
    length = graph.inputs[0].shape[0]
    for operation in graph.operations:
        reason = _why_whole(operation)
        if reason is None and operation.result.shape[0] != length and not operation.joins_rows:
            reason = f"{noun_of(operation)} is not of each token"
        if reason is not None:
            refusal = UnsupportedOperationError(reason)
            refusal.result = operation.result.name
            raise refusal
    found, joined = _join_all(graph)
    return with_rows(found, rows, context=length), joined


def _why_whole(operation: Operation) -> str | None:
    """Return why an operation needs all rows of a sequence in one launch; None: it does not."""
    match operation:
        case Attention(is_causal=False, bias=str()):
            return "its attention has a mask or biases of its own, for all tokens of a sequence"
        case Attention(is_causal=False):
            return "its attention is not causal: each token attends to the whole sequence"
        case FirstRow() | LastRow() | RowAt():
            return "it takes one token of a sequence"
        case OnSamples():
            return f"{noun_of(operation)} is of all tokens of a sequence"
        case _:
            return None


def _join_all(graph: Graph) -> tuple[Graph, Mapping[str, JoinedLoss]]:
    """Return the graph with losses that can be added up, and how they are joined."""
    joined: dict[str, JoinedLoss] = {}
    operations: list[Operation] = []
    read = {name for operation in graph.operations for name in operation.activation_operands}
    for operation in graph.operations:
        found = operation
        if operation.joins_rows:
            name = operation.result.name
            if name in read or name not in graph.outputs:
                raise UnsupportedOperationError(
                    f"{noun_of(operation)} is of all samples of a batch"
                )
            found, joined[name] = join_losses(operation)
        operations.append(found)
    return replace(graph, operations=(*operations,)), joined
