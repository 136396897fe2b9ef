"""Take factors that are inputs out of a graph: what it computes where these inputs are 1."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onewafer.graph.operations import Attention, Multiply
from onewafer.graph.renaming import rename

if TYPE_CHECKING:
    from collections.abc import Collection

    from onewafer.graph.graph import Graph
    from onewafer.graph.operations import Operation


def without_factors(graph: Graph, factors: Collection[str]) -> Graph:
    """Return a graph without the inputs that are `factors`, of a product or of shares of attention.

    What reads the product reads its other factor instead.
    """
    names: dict[str, str] = {}
    operations: list[Operation] = []
    for operation in graph.operations:
        if isinstance(operation, Multiply) and operation.right in factors:
            names[operation.result.name] = names.get(operation.left, operation.left)
        elif isinstance(operation, Attention) and operation.factors in factors:
            operations.append(replace(operation, factors=None))
        else:
            operations.append(operation)
    inputs = tuple(tensor for tensor in graph.inputs if tensor.name not in factors)
    return rename(replace(graph, inputs=inputs, operations=tuple(operations)), names)
