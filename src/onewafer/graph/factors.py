"""Dropout factors that are inputs of a graph: replace them by random draws, or remove dropout."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onewafer.graph.draws import Draw
from onewafer.graph.graph import rename
from onewafer.graph.operations import Attention, Dropout, Multiply

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from onewafer.graph.graph import Graph
    from onewafer.graph.operations import Operation


def draw_factors(graph: Graph, thresholds: Mapping[str, int]) -> Graph:
    """Return a graph that draws the dropout factors for which there is a threshold (`Draw`).

    It replaces inputs that are right operands of products, or factors of attention probabilities. A
    dropout's number is the place of its threshold; other inputs stay.
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
    """Return the graph of an evaluation, without dropout.

    Inputs in `factors` are removed from products and attention probabilities. Readers of a dropout,
    or of such a product, read its operand instead.
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
