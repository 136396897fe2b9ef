"""The largest elements of a row, and elements by their indices."""

from __future__ import annotations

from dataclasses import dataclass

from onewafer.graph.operations.names import IndexName, ValueName
from onewafer.graph.operations.operation import Operation


@dataclass(frozen=True, slots=True)
class TopIndices(Operation):
    """Find the largest elements of each row, the largest first: `result[…, j]` is a feature.

    Of equals (−0 is equal to +0) the first one comes first; NaN is above all numbers. The result
    has type i32, shape (…, count); all other operations compute floating-point numbers.
    """

    input: ValueName
    count: int
    """How many; 1: the argmax of each row."""


@dataclass(frozen=True, slots=True)
class Gather(Operation):
    """Take some features of each row: `result[…, j] = input[…, indices[…, j]]`."""

    input: ValueName
    indices: IndexName
    """Type i32, a row for each row of the input; an index outside the features is a bug."""
