"""Matrix products of two tensors of activations."""

from __future__ import annotations

from dataclasses import dataclass

from onewafer.graph.operations.names import ValueName
from onewafer.graph.operations.operation import Operation


@dataclass(frozen=True, slots=True)
class BatchedMatmul(Operation):
    """Multiply two tensors, sample by sample and group by group of features; two-dimensional.

    Of a sample, whose right operand has S rows, and of group g with K features of the left one:
    `result[r, g·N + n] = Σₖ left[r, g·K + k] · right[k, g·N + n]`, where S = K, or transposed
    `result[r, g·S + s] = Σₖ left[r, g·K + k] · right[s, g·K + k]`.
    """

    left: ValueName
    right: ValueName
    groups: int
    """Groups of consecutive features of equal size: the matrices of a sample, heads for example."""
    rows: int
    """Rows of the left operand and of the result that belong to a sample."""
    is_transposed: bool
    """Whether the features of the right operand are what is summed over, not its rows."""
