"""Factors of dropouts that are inputs of a graph: let it draw them, or take dropouts out of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onewafer.graph.draws import Draw
from onewafer.graph.operations import Attention, Dropout, Multiply
from onewafer.graph.renaming import rename

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from onewafer.graph.graph import Graph
    from onewafer.graph.operations import Operation


def draw_factors(graph: Graph, thresholds: Mapping[str, int]) -> Graph:
    """Return a graph that draws what some of its inputs are, those with a threshold (`Draw`).

    Those that products have as their right operands are drawn, and those of shares of attention, in
    the order of the thresholds, whose places are their numbers; others stay inputs.
    """
    numbers = {name: number for number, name in enumerate(thresholds)}
    operations: list[Operation] = []
    drawn = set[str]()
    for operation in graph.operations:
        if isinstance(operation, Multiply) and operation.right in thresholds:
            name = operation.right
            draws = numbers[name], thresholds[name]
            operations.append(Dropout(operation.result, operation.left, *draws))
            drawn.add(name)
        elif isinstance(operation, Attention) and (name := operation.factors) in thresholds:
            assert name is not None, "names have thresholds"  # invariant
            features = graph.tensor(name).shape[-1]
            draw = Draw(numbers[name], thresholds[name], features)
            operations.append(replace(operation, factors=None, drawn=draw))
            drawn.add(name)
        else:
            operations.append(operation)
    inputs = tuple(tensor for tensor in graph.inputs if tensor.name not in drawn)
    return replace(graph, inputs=inputs, operations=tuple(operations))


def without_factors(graph: Graph, factors: Collection[str]) -> Graph:
    """Return a graph as an evaluation has it, without dropouts.

    The inputs that are `factors` are not there, of a product or of shares of attention. What reads
    a dropout or such a product reads what is dropped instead.
    """
    names: dict[str, str] = {}
    operations: list[Operation] = []
    for operation in graph.operations:
        if isinstance(operation, Multiply) and operation.right in factors:
            names[operation.result.name] = names.get(operation.left, operation.left)
        elif isinstance(operation, Dropout):
            names[operation.result.name] = names.get(operation.input, operation.input)
        elif isinstance(operation, Attention) and (operation.drawn or operation.factors in factors):
            operations.append(replace(operation, factors=None, drawn=None))
        else:
            operations.append(operation)
    inputs = tuple(tensor for tensor in graph.inputs if tensor.name not in factors)
    return rename(replace(graph, inputs=inputs, operations=tuple(operations)), names)
