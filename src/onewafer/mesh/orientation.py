"""Choose the layout of each tensor's features: the axis and the order.

A linear layer changes the axis, other operations keep it, so the axes are a two-colouring: tensors
joined by element-wise operations have one colour, both sides of a linear layer differ. A graph
without a contradiction gets a colouring that needs no `Redistribute`. An operation on two tensors
that contradicts earlier operations redistributes its right operand: its result has the layout of
the left one. A product with a weight that is placed already, such as a token table that is also the
head, redistributes its operand.

Tensors of one layout also have one order of features. Operations on heads require an order; without
one, features lie in the order of their indices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.mesh.blocks import Axis, InTurns, Layout
from onewafer.mesh.lowering.catalog import blamed_on, lowering_of
from onewafer.mesh.relations import Relations

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.graph import Graph


class Orientations:
    """The layouts of a graph's tensors, for any rectangle.

    Inputs lie along x unless that contradicts a relation; only the right operand of an operation on
    two tensors may have another layout than the result. Raises UnsupportedOperationError for an
    operation without a lowering, or whose operands cannot have the layouts that it needs.
    """

    def __init__(self, graph: Graph) -> None:
        relations = Relations()
        for operation in graph.operations:
            with blamed_on(operation):
                lowering_of(operation).relate(operation, relations)
        relations.settle()
        tensors = (*graph.inputs, *(operation.result for operation in graph.operations))
        self._choices = tuple(
            (
                tensor.name,
                tensor.shape[-1],
                relations.axis(tensor.name),
                relations.groups_in_turns(tensor.name),
                relations.order(tensor.name),
            )
            for tensor in tensors
        )

    def cut(self, width: int, height: int) -> Mapping[str, Layout]:
        """Return the layout of every input and result on a rectangle."""
        sizes = {Axis.X: width, Axis.Y: height}
        return {
            name: Layout.cut(
                features,
                axis,
                sizes[axis],
                order=order if groups is None else InTurns(num_pes=sizes[axis], groups=groups),
            )
            for name, features, axis, groups, order in self._choices
        }


def choose_layouts(graph: Graph, width: int, height: int) -> Mapping[str, Layout]:
    """Return the layout of every input and result on one rectangle, as `Orientations` does."""
    return Orientations(graph).cut(width, height)
