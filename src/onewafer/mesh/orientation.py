"""Choose how the features of each tensor lie: along which axis, and in which order.

A linear operation changes the axis, other operations keep it, so the axis is a two-colouring:
tensors joined by element-wise operations are alike, the sides of a linear operation differ. A graph
without a contradiction gets the colouring that needs no `Redistribute`. Each operation on two
tensors that contradicts the operations before it needs one, for its right operand: its result lies
as the left one does. So does a product with a weight that has its place already, as a table of
tokens that is the head, too: it needs one for its operand.

Tensors that are alike also have one order of features. Operations on heads of features ask for an
order; without such an operation, features lie in the order of their numbers.
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
    """How the features of the tensors of a graph lie, on any rectangle.

    Inputs lie along x if nothing contradicts; only the right operand of an operation on two tensors
    may lie otherwise than the result. Raises UnsupportedOperationError for an operation that has no
    form on the wafer, or whose operands cannot lie as it needs them.
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
