"""Lowering of the gradients of dense layers and relu.

A gradient has the layout of its tensor. The gradient of a weight or bias accumulates in the arena
of gradients, at the offset that the parameter has in the arena of parameters: each launch adds to
what earlier launches left there.
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
    """Multiply by the transposed weight, and all-reduce along the gradient's axis."""

    def relate(self, operation: graph.LinearInputGradient, relations: Relations) -> None:
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

    A gradient on the axis of the weight's in features is redistributed first; a result that is not
    wanted on that axis is redistributed last. `multiply` takes the blocks of product, gradient,
    weight and scratch for the transposed weight, and the axis of the product.
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
    """Multiply local blocks; only operands on the wrong axis are redistributed."""

    def relate(self, operation: graph.LinearWeightGradient, relations: Relations) -> None:
        relations.put_across_if_possible(operation.input, operation.gradient)

    def lower(self, operation: graph.LinearWeightGradient, builder: Builder) -> None:
        blocks, axis = lay_factors(operation, builder)
        features = builder.tensor(operation.input).shape[-1]
        builder.append(AddOuterProducts(*blocks, axis, features))


def lay_factors(
    operation: graph.LinearWeightGradient | graph.ConvolutionWeightGradient, builder: Builder
) -> tuple[tuple[Block, Block, Block], Axis]:
    """Return the blocks of a weight's gradient, the input and the result's gradient.

    The input lies along the returned axis, that of the weight's rows; the gradient along the other.
    """
    axis = builder.parameters.axis_of_weight(builder.parameter_of(operation.result.name))
    sides = (operation.input, axis), (operation.gradient, axis.other)
    rows, columns = (builder.layout_along(*side) for side in sides)
    result = builder.gradient(operation.result.name, rows=rows, columns=columns)
    source, gradient = (builder.lay(*side) for side in sides)
    return (result, source, gradient), axis


class SumRowsLowering(AlikeLowering[graph.SumRows]):
    """Add up rows locally: a PE has all rows of its columns."""

    def lower(self, operation: graph.SumRows, builder: Builder) -> None:
        axis = builder.parameters.axis_of_vector(builder.parameter_of(operation.result.name))
        layout = builder.layout_along(operation.input, axis)
        result = builder.gradient(operation.result.name, columns=layout)
        builder.append(AddRows(result, builder.lay(operation.input, axis)))


class ReluGradientLowering(DerivativeLowering[graph.ReluGradient]):
    """Select the gradient locally, in place of an operand that is not read again."""

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
