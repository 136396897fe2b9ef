"""Sizes of the expert networks of a layer: two products, or three with a gate."""

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
    """The sizes of one expert, and the number of experts that a row is routed to."""

    features: int
    hidden: int
    """Features between the products."""
    matrices: int
    """Number of products: 2, or 3 with a gate."""
    num_experts: int
    experts_per_row: int

    @property
    def widened(self) -> int:
        """Output features of the first product, the gate's included."""
        return (self.matrices - 1) * self.hidden

    @property
    def flop_per_row(self) -> int:
        """FLOP of a row's products in all its experts, forward pass."""
        return 2 * self.experts_per_row * self.matrices * self.features * self.hidden


def network_of(graph: Graph, operation: Experts) -> ExpertNetwork:
    """Return the sizes of the experts of an operation; biases are not counted."""
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
