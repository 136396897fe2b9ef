"""Gradients of what is computed on feature maps; each PE has all pixels of its share of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer import graph
from onewafer.errors import TooLargeError, UnsupportedOperationError
from onewafer.mesh import feature_maps as mesh
from onewafer.mesh.feature_maps.lowering import check_stride, columns_of, upright
from onewafer.mesh.gradients.lowering import append_transposed_product, lay_factors
from onewafer.mesh.lowering.lowering import AlikeLowering, Lowering, Lowerings
from onewafer.mesh.sizes import CHUNK

if TYPE_CHECKING:
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.relations import Relations


class ConvolutionInputGradientLowering(Lowering[graph.ConvolutionInputGradient]):
    """Multiply by transposed weights tap by tap; sum partial sums along the gradient's axis."""

    def relate(self, operation: graph.ConvolutionInputGradient, relations: Relations) -> None:
        """Give the result the layout of the other factor, and the gradient the other axis."""
        relations.align_with_operand(operation.result.name, operation.weight)
        relations.put_across_if_possible(operation.gradient, operation.result.name)

    def lower(self, operation: graph.ConvolutionInputGradient, builder: Builder) -> None:
        """Append the multiplications and the all-reduce."""
        window, features = operation.window, operation.result.shape[-1]
        append_transposed_product(
            operation,
            builder,
            lambda blocks, axis: mesh.ConvolutionInputGradient(*blocks, window, axis, features),
        )


class ConvolutionWeightGradientLowering(Lowering[graph.ConvolutionWeightGradient]):
    """Multiply local blocks of both operands; only redistributed operands move between PEs."""

    def relate(self, operation: graph.ConvolutionWeightGradient, relations: Relations) -> None:
        """Lay the gradient along the axis that the input does not use, as the product did."""
        relations.put_across_if_possible(operation.input, operation.gradient)

    def lower(self, operation: graph.ConvolutionWeightGradient, builder: Builder) -> None:
        """Append the multiplications."""
        blocks, axis = lay_factors(operation, builder)
        features = builder.tensor(operation.input).shape[-1]
        window = upright(operation.window)
        for column in columns_of(window):
            builder.append(mesh.AddTapProducts(*blocks, window, axis, features, column))


class DepthwiseInputGradientLowering(AlikeLowering[graph.DepthwiseInputGradient]):
    """Weigh the taps; the weights lie as the rows of the gradient do."""

    def lower(self, operation: graph.DepthwiseInputGradient, builder: Builder) -> None:
        """Append the weighted sums."""
        layout = builder.layouts[operation.result.name]
        check_stride(operation, layout)
        weight = builder.parameters.place_vector(operation.weight, layout)
        source, result = builder.blocks[operation.gradient], builder.allocate(operation.result)
        builder.append(mesh.DepthwiseInputGradient(result, source, weight, operation.window))


class DepthwiseWeightGradientLowering(Lowering[graph.DepthwiseWeightGradient]):
    """Multiply local blocks of both operands; only redistributed operands move between PEs."""

    def relate(self, operation: graph.DepthwiseWeightGradient, relations: Relations) -> None:
        """Give both operands one layout if no relation forbids it."""
        relations.order_alike(operation.input, operation.gradient)

    def lower(self, operation: graph.DepthwiseWeightGradient, builder: Builder) -> None:
        """Append the products."""
        layout = builder.layouts[operation.input]
        check_stride(operation, layout)
        _check_width(operation)
        gradient, source = (
            builder.lay(operation.gradient, layout.axis),
            builder.blocks[operation.input],
        )
        result = builder.gradient(operation.result.name, columns=layout)
        builder.append(mesh.AddDepthwiseProducts(result, gradient, source, operation.window))


def _check_width(operation: graph.DepthwiseWeightGradient | graph.MaxPoolGradient) -> None:
    """Refuse lines of a result that have no room in the scratch of the kernel."""
    width = operation.window.result_width
    if width > CHUNK:
        raise TooLargeError(
            f"{type(operation).__name__} with a result of {width} pixels in a line is not "
            f"supported, at most with {CHUNK}"
        )


class MaxPoolGradientLowering(Lowering[graph.MaxPoolGradient]):
    """Compare the taps with the maximum."""

    def relate(self, operation: graph.MaxPoolGradient, relations: Relations) -> None:
        """Let all tensors have one layout, the gradient only if no other relation forbids it."""
        for name in (operation.input, operation.found):
            relations.join(name, operation.result.name)
        relations.order_alike(operation.gradient, operation.result.name)

    def lower(self, operation: graph.MaxPoolGradient, builder: Builder) -> None:
        """Append the comparisons."""
        layout = builder.layouts[operation.result.name]
        check_stride(operation, layout)
        _check_width(operation)
        gradient = builder.lay(operation.gradient, layout.axis)
        source, found = (builder.blocks[name] for name in (operation.input, operation.found))
        rest, result = builder.spare(found.rows, found.columns), builder.allocate(operation.result)
        window = operation.window
        builder.append(mesh.MaxPoolGradient(result, gradient, source, found, rest, window))


class RepeatRowsLowering(AlikeLowering[graph.RepeatRows]):
    """Copy rows."""

    def lower(self, operation: graph.RepeatRows, builder: Builder) -> None:
        """Append the copies; kernels of programs whose rows are tokens lack them."""
        if builder.is_sequence:
            raise UnsupportedOperationError(
                "the mean over all rows has no gradient where rows are tokens that attend to each "
                "other; take that of one row, or train without attention"
            )
        source = builder.blocks[operation.input]
        builder.append(mesh.RepeatRows(builder.allocate(operation.result), source))


LOWERINGS: Lowerings = {
    graph.ConvolutionInputGradient: ConvolutionInputGradientLowering(),
    graph.ConvolutionWeightGradient: ConvolutionWeightGradientLowering(),
    graph.DepthwiseInputGradient: DepthwiseInputGradientLowering(),
    graph.DepthwiseWeightGradient: DepthwiseWeightGradientLowering(),
    graph.MaxPoolGradient: MaxPoolGradientLowering(),
    graph.RepeatRows: RepeatRowsLowering(),
}
