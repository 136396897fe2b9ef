"""Inputs that have one row where others have those of a sequence, as a label has of its text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.graph.operations import FirstRow, LastRow, RowAt, RowAtGradient

if TYPE_CHECKING:
    from onewafer.graph.graph import Graph


def inputs_of_one_row(graph: Graph) -> frozenset[str]:
    """Return the inputs that have a row for each sequence, as the labels of a classifier have.

    They only meet what follows from one row of a sequence, or say which one that is.
    """
    alone, beside, elsewhere = set[str](), set[str](), set[str]()
    for operation in graph.operations:
        operands = {*operation.activation_operands}
        rows = {graph.tensor(name).shape[0] for name in operands & alone}
        if isinstance(operation, FirstRow | LastRow | RowAt) or operation.result.shape[0] in rows:
            alone.add(operation.result.name)
        same = {name for name in operands if graph.tensor(name).shape[0] in rows}
        if isinstance(operation, RowAt | RowAtGradient):
            same.add(operation.index)
        beside |= same
        elsewhere |= operands - same
    return frozenset(tensor.name for tensor in graph.inputs) & beside - elsewhere
