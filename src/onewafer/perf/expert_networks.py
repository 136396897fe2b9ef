"""Experts of a layer as the small networks that they are: two products, or three with a gate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onewafer.graph import Experts, Graph

_STACK_OF_MATRICES = 3
"""Dimensions of a parameter that has a matrix for each expert."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertNetwork:
    """One of the networks among which a row chooses, and how many it meets."""

    features: int
    hidden: int
    """Features between its products."""
    matrices: int
    """Products: 2, or 3 with a gate."""
    num_experts: int
    experts_per_row: int

    @property
    def widened(self) -> int:
        """Features that its first product makes, that of the gate included."""
        return (self.matrices - 1) * self.hidden

    @property
    def flop_per_row(self) -> int:
        """Operations of the products of a row with all that it meets, forward."""
        return 2 * self.experts_per_row * self.matrices * self.features * self.hidden


def network_of(graph: Graph, operation: Experts) -> ExpertNetwork:
    """Return what experts are made of; their biases are left aside."""
    shapes = (graph.tensor(name).shape for name in operation.weights)
    matrices = sum(math.prod(shape[1:]) for shape in shapes if len(shape) >= _STACK_OF_MATRICES)
    features = graph.tensor(operation.input).shape[-1]
    return ExpertNetwork(
        features=features,
        hidden=operation.hidden_features,
        matrices=matrices // (features * operation.hidden_features),
        num_experts=operation.num_experts,
        experts_per_row=operation.experts_per_row,
    )
