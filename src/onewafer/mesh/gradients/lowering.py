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
    """Multiply by the turned weight, and add the partial sums along the axis of the gradient."""

    def relate(self, operation: graph.LinearInputGradient, relations: Relations) -> None:
        """Let the result lie along the other axis than the gradient."""
        relations.put_across(operation.gradient, operation.result.name)

    def lower(self, operation: graph.LinearInputGradient, builder: Builder) -> None:
        """Append the multiplication and the all-reduce."""
        source, name = builder.blocks[operation.gradient], operation.result.name
        layout, result_layout = builder.layouts[operation.gradient], builder.layouts[name]
        weight = builder.place_weight(operation.weight, result_layout, layout)
        piece = builder.spare(weight.columns, weight.rows)
        result = builder.allocate(operation.result)
        features = operation.result.shape[-1]
        builder.append(MultiplyTurned(result, source, weight, piece, result_layout.axis, features))
        builder.all_reduce(result, layout.axis)


class LinearWeightGradientLowering(Lowering[graph.LinearWeightGradient]):
    """Multiply what a PE has of both operands: no exchange at all."""

    def relate(self, operation: graph.LinearWeightGradient, relations: Relations) -> None:
        """Let the gradient lie along the other axis than the input, as the product did."""
        relations.put_across(operation.input, operation.gradient)

    def lower(self, operation: graph.LinearWeightGradient, builder: Builder) -> None:
        """Append the multiplication."""
        rows, columns = operation.input, operation.gradient
        operands = builder.blocks[rows], builder.blocks[columns]
        result = builder.gradient(operation.result.name, rows=rows, columns=columns)
        axis, features = builder.layouts[rows].axis, builder.tensor(rows).shape[-1]
        builder.append(AddOuterProducts(result, *operands, axis, features))


class SumRowsLowering(Lowering[graph.SumRows]):
    """Add up the rows that a PE has, which are all: no exchange at all."""

    def relate(self, operation: graph.SumRows, relations: Relations) -> None:
        """Let the result lie as the rows do."""
        relations.join(operation.input, operation.result.name)

    def lower(self, operation: graph.SumRows, builder: Builder) -> None:
        """Append the addition."""
        result = builder.gradient(operation.result.name, columns=operation.input)
        builder.append(AddRows(result, builder.blocks[operation.input]))


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
