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
    MultiplyTransposed,
    ReluGradient,
)
from onewafer.mesh.lowering.lowering import AlikeLowering, DerivativeLowering, Lowering, Lowerings

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.mesh.blocks import Axis, Block
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.operation import MeshOperation
    from onewafer.mesh.relations import Relations


class LinearInputGradientLowering(Lowering[graph.LinearInputGradient]):
    """Multiply by the transposed weight, and sum the products along the axis of the gradient."""

    def relate(self, operation: graph.LinearInputGradient, relations: Relations) -> None:
        """Give the result the layout of the other factor, and the gradient the other axis."""
        relations.align_with_operand(operation.result.name, operation.weight)
        relations.put_across_if_possible(operation.gradient, operation.result.name)

    def lower(self, operation: graph.LinearInputGradient, builder: Builder) -> None:
        features = operation.result.shape[-1]
        append_transposed_product(
            operation, builder, lambda blocks, axis: MultiplyTransposed(*blocks, axis, features)
        )


def append_transposed_product(
    operation: graph.LinearInputGradient | graph.ConvolutionInputGradient,
    builder: Builder,
    multiply: Callable[[tuple[Block, Block, Block, Block], Axis], MeshOperation],
) -> None:
    """Append the product of a gradient with a transposed weight, and its all-reduce.

    A gradient that lies otherwise than the product did, which was added to a tensor along the other
    axis, is redistributed first; the result too, where it lies otherwise than the in features of
    the weight. `multiply` takes the blocks of product, gradient, weight and a piece of it, and the
    axis of the product.
    """
    axis, name = builder.parameters.axis_of_weight(operation.weight), operation.result.name
    inner = builder.layout_along(name, axis)
    source = builder.lay(operation.gradient, axis.other)
    layout = builder.layout_along(operation.gradient, axis.other)
    weight = builder.parameters.place_weight(operation.weight, inner, layout)
    piece = builder.spare(layout.columns, inner.columns)
    result = builder.allocate(operation.result)
    is_moved = builder.layouts[name].axis is not axis and builder.num_pes > 1
    product = builder.spare(result.rows, inner.columns) if is_moved else result
    builder.append(multiply((product, source, weight, piece), axis))
    builder.all_reduce(product, axis.other)
    if is_moved:
        builder.move(product, result, axis.other)


class LinearWeightGradientLowering(Lowering[graph.LinearWeightGradient]):
    """Multiply local blocks of both operands; only redistributed operands move between PEs."""

    def relate(self, operation: graph.LinearWeightGradient, relations: Relations) -> None:
        """Lay the gradient along the axis that the input does not use, as the product did."""
        relations.put_across_if_possible(operation.input, operation.gradient)

    def lower(self, operation: graph.LinearWeightGradient, builder: Builder) -> None:
        blocks, axis = lay_factors(operation, builder)
        features = builder.tensor(operation.input).shape[-1]
        builder.append(AddOuterProducts(*blocks, axis, features))


def lay_factors(
    operation: graph.LinearWeightGradient | graph.ConvolutionWeightGradient, builder: Builder
) -> tuple[tuple[Block, Block, Block], Axis]:
    """Return the blocks of a weight's gradient, of the input and of the gradient it comes from.

    The latter two lie as the weight does: the input along the axis that is returned.
    """
    axis = builder.parameters.axis_of_weight(builder.parameter_of(operation.result.name))
    sides = (operation.input, axis), (operation.gradient, axis.other)
    rows, columns = (builder.layout_along(*side) for side in sides)
    result = builder.gradient(operation.result.name, rows=rows, columns=columns)
    source, gradient = (builder.lay(*side) for side in sides)
    return (result, source, gradient), axis


class SumRowsLowering(AlikeLowering[graph.SumRows]):
    """Add up the rows that a PE has, which are all: no exchange but for what is redistributed."""

    def lower(self, operation: graph.SumRows, builder: Builder) -> None:
        axis = builder.parameters.axis_of_vector(builder.parameter_of(operation.result.name))
        layout = builder.layout_along(operation.input, axis)
        result = builder.gradient(operation.result.name, columns=layout)
        builder.append(AddRows(result, builder.lay(operation.input, axis)))


class ReluGradientLowering(DerivativeLowering[graph.ReluGradient]):
    """Keep a part of a gradient, in its place if it lies as the value does."""

    def lower(self, operation: graph.ReluGradient, builder: Builder) -> None:
        axis = builder.layouts[operation.value].axis
        operands = builder.lay(operation.gradient, axis), builder.blocks[operation.value]
        builder.append(ReluGradient(builder.allocate_in_place(operation), *operands))


LOWERINGS: Lowerings = {
    graph.LinearInputGradient: LinearInputGradientLowering(),
    graph.LinearWeightGradient: LinearWeightGradientLowering(),
    graph.SumRows: SumRowsLowering(),
    graph.ReluGradient: ReluGradientLowering(),
}
