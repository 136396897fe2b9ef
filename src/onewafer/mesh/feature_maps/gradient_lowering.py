"""Gradients of what is computed on feature maps; each PE has all pixels of its share of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer import graph
from onewafer.errors import TooLargeError
from onewafer.mesh import feature_maps as mesh
from onewafer.mesh.feature_maps.lowering import check_stride, columns_of, upright
from onewafer.mesh.lowering.lowering import Lowering, Lowerings
from onewafer.mesh.sizes import CHUNK

if TYPE_CHECKING:
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.relations import Relations


class ConvolutionInputGradientLowering(Lowering[graph.ConvolutionInputGradient]):
    """Multiply by turned weights tap by tap; add partial sums along the axis of the gradient.

    Where a residual connection lets the gradient lie along the axis of the input, it is
    redistributed first, or the result is.
    """

    def relate(self, operation: graph.ConvolutionInputGradient, relations: Relations) -> None:
        """Let the result lie along the other axis than the gradient."""
        relations.put_across_if_possible(operation.gradient, operation.result.name)

    def lower(self, operation: graph.ConvolutionInputGradient, builder: Builder) -> None:
        """Append the multiplications and the all-reduce."""
        axis, name = builder.parameters.axis_of_weight(operation.weight), operation.result.name
        inner = builder.layout_along(name, axis)
        source = builder.lay(operation.gradient, axis.other)
        layout = builder.layout_along(operation.gradient, axis.other)
        weight = builder.parameters.place_weight(operation.weight, inner, layout)
        piece = builder.spare(layout.columns, inner.columns)
        result = builder.allocate(operation.result)
        is_moved = builder.layouts[name].axis is not axis and builder.num_pes > 1
        product = builder.spare(result.rows, inner.columns) if is_moved else result
        sized = operation.window, axis, operation.result.shape[-1]
        builder.append(mesh.ConvolutionInputGradient(product, source, weight, piece, *sized))
        builder.all_reduce(product, axis.other)
        if is_moved:
            builder.move(product, result, axis.other)


class ConvolutionWeightGradientLowering(Lowering[graph.ConvolutionWeightGradient]):
    """Multiply what a PE has of both operands: no exchange at all.

    But for what is redistributed, as above.
    """

    def relate(self, operation: graph.ConvolutionWeightGradient, relations: Relations) -> None:
        """Let the gradient lie along the other axis than the input, as the product did."""
        relations.put_across_if_possible(operation.input, operation.gradient)

    def lower(self, operation: graph.ConvolutionWeightGradient, builder: Builder) -> None:
        """Append the multiplications."""
        axis = builder.parameters.axis_of_weight(builder.parameter_of(operation.result.name))
        sides = (operation.input, axis), (operation.gradient, axis.other)
        rows, columns = (builder.layout_along(*side) for side in sides)
        result = builder.gradient(operation.result.name, rows=rows, columns=columns)
        source, gradient = (builder.lay(*side) for side in sides)
        sized = axis, builder.tensor(operation.input).shape[-1]
        window = upright(operation.window)
        for column in columns_of(window):
            builder.append(mesh.AddTapProducts(result, source, gradient, window, *sized, column))


class DepthwiseInputGradientLowering(Lowering[graph.DepthwiseInputGradient]):
    """Weigh the taps; the weights lie as the rows of the gradient do."""

    def relate(self, operation: graph.DepthwiseInputGradient, relations: Relations) -> None:
        """Let the result lie as the gradient does."""
        relations.join(operation.gradient, operation.result.name)

    def lower(self, operation: graph.DepthwiseInputGradient, builder: Builder) -> None:
        """Append the weighted sums."""
        layout = builder.layouts[operation.result.name]
        check_stride(operation, layout)
        weight = builder.parameters.place_vector(operation.weight, layout)
        source, result = builder.blocks[operation.gradient], builder.allocate(operation.result)
        builder.append(mesh.DepthwiseInputGradient(result, source, weight, operation.window))


class MaxPoolGradientLowering(Lowering[graph.MaxPoolGradient]):
    """Compare the taps with the maximum."""

    def relate(self, operation: graph.MaxPoolGradient, relations: Relations) -> None:
        """Let all lie alike."""
        for name in (operation.input, operation.found, operation.gradient):
            relations.join(name, operation.result.name)

    def lower(self, operation: graph.MaxPoolGradient, builder: Builder) -> None:
        """Append the comparisons."""
        check_stride(operation, builder.layouts[operation.result.name])
        width = operation.window.result_width
        if width > CHUNK:
            raise TooLargeError(
                f"MaxPoolGradient with a result of {width} pixels in a line is not supported, at "
                f"most with {CHUNK}"
            )
        gradient, source, found = (
            builder.blocks[name] for name in (operation.gradient, operation.input, operation.found)
        )
        rest, result = builder.spare(found.rows, found.columns), builder.allocate(operation.result)
        window = operation.window
        builder.append(mesh.MaxPoolGradient(result, gradient, source, found, rest, window))


class RepeatRowsLowering(Lowering[graph.RepeatRows]):
    """Copy rows."""

    def relate(self, operation: graph.RepeatRows, relations: Relations) -> None:
        """Let the result lie as the input does."""
        relations.join(operation.input, operation.result.name)

    def lower(self, operation: graph.RepeatRows, builder: Builder) -> None:
        """Append the copies."""
        source = builder.blocks[operation.input]
        builder.append(mesh.RepeatRows(builder.allocate(operation.result), source))


LOWERINGS: Lowerings = {
    graph.ConvolutionInputGradient: ConvolutionInputGradientLowering(),
    graph.ConvolutionWeightGradient: ConvolutionWeightGradientLowering(),
    graph.DepthwiseInputGradient: DepthwiseInputGradientLowering(),
    graph.MaxPoolGradient: MaxPoolGradientLowering(),
    graph.RepeatRows: RepeatRowsLowering(),
}
