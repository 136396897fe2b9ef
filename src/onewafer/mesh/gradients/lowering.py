"""Gradients of dense layers and of relu.

A gradient lies as the tensor that it is of. That of a weight or a bias is added to what is in the
arena of gradients, at the place that the parameter has in its own: a launch adds to what launches
before it have left there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer import graph
from onewafer.mesh.gradients.operations import (
    AddOuterProducts,
    AddRows,
    MultiplyTurned,
    ReluGradient,
)
from onewafer.mesh.lowering.lowering import Lowering, Lowerings

if TYPE_CHECKING:
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.relations import Relations


class LinearInputGradientLowering(Lowering[graph.LinearInputGradient]):
    """Multiply by the turned weight, and add the partial sums along the axis of the gradient.

    A gradient that lies otherwise than the product did, which was added to a tensor along the other
    axis, is redistributed first; the result too, where the operand was for a weight that has two
    uses.
    """

    def relate(self, operation: graph.LinearInputGradient, relations: Relations) -> None:
        """Let the result lie as what is multiplied does, and the gradient along the other axis."""
        relations.align_with_operand(operation.result.name, operation.weight)
        relations.put_across_if_possible(operation.gradient, operation.result.name)

    def lower(self, operation: graph.LinearInputGradient, builder: Builder) -> None:
        """Append the multiplication and the all-reduce."""
        axis, name = builder.parameters.axis_of_weight(operation.weight), operation.result.name
        inner = builder.layout_along(name, axis)
        source = builder.lay(operation.gradient, axis.other)
        layout = builder.layout_along(operation.gradient, axis.other)
        weight = builder.parameters.place_weight(operation.weight, inner, layout)
        piece = builder.spare(weight.columns, weight.rows)
        result = builder.allocate(operation.result)
        is_moved = builder.layouts[name].axis is not axis and builder.num_pes > 1
        product = builder.spare(result.rows, inner.columns) if is_moved else result
        features = operation.result.shape[-1]
        builder.append(MultiplyTurned(product, source, weight, piece, axis, features))
        builder.all_reduce(product, axis.other)
        if is_moved:
            builder.move(product, result, axis.other)


class LinearWeightGradientLowering(Lowering[graph.LinearWeightGradient]):
    """Multiply what a PE has of both operands: no exchange at all.

    But for what is redistributed, as above.
    """

    def relate(self, operation: graph.LinearWeightGradient, relations: Relations) -> None:
        """Let the gradient lie along the other axis than the input, as the product did."""
        relations.put_across_if_possible(operation.input, operation.gradient)

    def lower(self, operation: graph.LinearWeightGradient, builder: Builder) -> None:
        """Append the multiplication."""
        axis = builder.parameters.axis_of_weight(builder.parameter_of(operation.result.name))
        sides = (operation.input, axis), (operation.gradient, axis.other)
        rows, columns = (builder.layout_along(*side) for side in sides)
        result = builder.gradient(operation.result.name, rows=rows, columns=columns)
        source, gradient = (builder.lay(*side) for side in sides)
        features = builder.tensor(operation.input).shape[-1]
        builder.append(AddOuterProducts(result, source, gradient, axis, features))


class SumRowsLowering(Lowering[graph.SumRows]):
    """Add up the rows that a PE has, which are all: no exchange but for what is redistributed."""

    def relate(self, operation: graph.SumRows, relations: Relations) -> None:
        """Let the result lie as the rows do."""
        relations.join(operation.input, operation.result.name)

    def lower(self, operation: graph.SumRows, builder: Builder) -> None:
        """Append the addition."""
        axis = builder.parameters.axis_of_vector(builder.parameter_of(operation.result.name))
        layout = builder.layout_along(operation.input, axis)
        result = builder.gradient(operation.result.name, columns=layout)
        builder.append(AddRows(result, builder.lay(operation.input, axis)))


class ReluGradientLowering(Lowering[graph.ReluGradient]):
    """Keep a part of a gradient, in its place."""

    works_in_place = True

    def relate(self, operation: graph.ReluGradient, relations: Relations) -> None:
        """Let all lie alike."""
        relations.join(operation.value, operation.gradient)
        relations.join(operation.gradient, operation.result.name)

    def lower(self, operation: graph.ReluGradient, builder: Builder) -> None:
        """Append the operation."""
        operands = builder.blocks[operation.gradient], builder.blocks[operation.value]
        builder.append(ReluGradient(builder.allocate_in_place(operation), *operands))


LOWERINGS: Lowerings = {
    graph.LinearInputGradient: LinearInputGradientLowering(),
    graph.LinearWeightGradient: LinearWeightGradientLowering(),
    graph.SumRows: SumRowsLowering(),
    graph.ReluGradient: ReluGradientLowering(),
}
