"""Lowering of operations on feature maps; each PE has all pixels of its features."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from onewafer import graph
from onewafer.errors import TooLargeError, UnsupportedOperationError
from onewafer.graph import (
    Convolution,
    DepthwiseConvolution,
    GlobalAveragePool,
    MaxPool,
    ScaleFeatureMaps,
)
from onewafer.mesh import feature_maps as mesh
from onewafer.mesh.gradients.lowering import append_transposed_product, lay_factors
from onewafer.mesh.lowering.lowering import AlikeLowering, Lowering, Lowerings
from onewafer.mesh.sizes import CHUNK, MOST_STRIDE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onewafer.graph import (
        DepthwiseInputGradient,
        DepthwiseWeightGradient,
        MaxPoolGradient,
        Window,
    )
    from onewafer.mesh.blocks import Layout
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.relations import Relations

    OnTaps: TypeAlias = (
        DepthwiseConvolution
        | DepthwiseInputGradient
        | DepthwiseWeightGradient
        | MaxPool
        | MaxPoolGradient
    )


class ConvolutionLowering(Lowering[Convolution]):
    """Multiply local blocks tap by tap, and all-reduce the partial sums along the input's axis."""

    def relate(self, operation: Convolution, relations: Relations) -> None:
        relations.multiply(operation.input, operation.weight, operation.result.name)

    def lower(self, operation: Convolution, builder: Builder) -> None:
        result_layout = builder.layouts[operation.result.name]
        axis = result_layout.axis.other
        source, layout = (
            builder.lay(operation.input, axis),
            builder.layout_along(operation.input, axis),
        )
        weight = builder.parameters.place_weight(operation.weight, layout, result_layout)
        result = builder.allocate(operation.result)
        sums = builder.sums_of(result)
        features = operation.result.shape[-1]
        window = upright(operation.window)
        for column in columns_of(window):
            builder.append(
                mesh.Convolve(sums, source, weight, window, result_layout.axis, features, column)
            )
        builder.all_reduce(sums, axis)
        builder.store(sums, result)


def upright(window: Window) -> Window:
    """Return a window over one line of pixels as one over a column, if its taps are dilated.

    The rows of the tensor stay the same; dilated taps become lines of the kernel.
    """
    if window.dilation_x == 1 or (window.height, window.kernel_height) != (1, 1):
        return window
    if window.top or window.bottom:
        return window
    return replace(
        window,
        height=window.width,
        width=1,
        kernel_height=window.kernel_width,
        kernel_width=1,
        stride_y=window.stride_x,
        stride_x=1,
        top=window.left,
        left=0,
        bottom=window.right,
        right=0,
        dilation_y=window.dilation_x,
        dilation_x=1,
    )


def columns_of(window: Window) -> Iterator[int | None]:
    """Yield the kernel's columns one by one, or None once if its taps are neighbours in a line."""
    if window.dilation_x == 1 or window.kernel_width == 1:
        yield None
    else:
        yield from range(window.kernel_width)


class DepthwiseConvolutionLowering(AlikeLowering[DepthwiseConvolution]):
    """Multiply and add locally; the weights lie as the input's columns do."""

    def lower(self, operation: DepthwiseConvolution, builder: Builder) -> None:
        layout = builder.layouts[operation.result.name]
        check_stride(operation, layout)
        weight = builder.parameters.place_vector(operation.weight, layout)
        source = builder.blocks[operation.input]
        result = builder.allocate(operation.result)
        sums = builder.sums_of(result)
        builder.append(mesh.ConvolveDepthwise(sums, source, weight, operation.window))
        builder.store(sums, result)


class MaxPoolLowering(AlikeLowering[MaxPool]):
    """Take the maximum over the taps locally."""

    def lower(self, operation: MaxPool, builder: Builder) -> None:
        check_stride(operation, builder.layouts[operation.result.name])
        source = builder.blocks[operation.input]
        builder.append(mesh.MaxPool(builder.allocate(operation.result), source, operation.window))


class GlobalAveragePoolLowering(AlikeLowering[GlobalAveragePool]):
    """Add up the rows and scale locally."""

    def lower(self, operation: GlobalAveragePool, builder: Builder) -> None:
        source = builder.blocks[operation.input]
        result = builder.allocate(operation.result)
        builder.append(mesh.GlobalAveragePool(result, source, builder.sums_of(result)))


class ScaleFeatureMapsLowering(AlikeLowering[ScaleFeatureMaps]):
    """Multiply the rows of each sample by its row of factors locally."""

    def lower(self, operation: ScaleFeatureMaps, builder: Builder) -> None:
        source, factors = (builder.blocks[name] for name in (operation.input, operation.factors))
        builder.append(mesh.ScaleFeatureMaps(builder.allocate(operation.result), source, factors))


def check_stride(operation: OnTaps, layout: Layout) -> None:
    """Refuse blocks whose rows are further apart than a DSD's stride can reach."""
    most = MOST_STRIDE // operation.window.stride_x
    if layout.columns > most:
        raise TooLargeError(
            f"{type(operation).__name__} with {layout.columns} features on each PE is not "
            f"supported, at most with {most}; use more PEs along {layout.axis}"
        )


class ConvolutionInputGradientLowering(Lowering[graph.ConvolutionInputGradient]):
    """Multiply by transposed weights tap by tap; all-reduce along the gradient's axis."""

    def relate(self, operation: graph.ConvolutionInputGradient, relations: Relations) -> None:
        relations.align_with_operand(operation.result.name, operation.weight)
        relations.put_across_if_possible(operation.gradient, operation.result.name)

    def lower(self, operation: graph.ConvolutionInputGradient, builder: Builder) -> None:
        window, features = operation.window, operation.result.shape[-1]
        append_transposed_product(
            operation,
            builder,
            lambda blocks, axis: mesh.ConvolutionInputGradient(*blocks, window, axis, features),
        )


class ConvolutionWeightGradientLowering(Lowering[graph.ConvolutionWeightGradient]):
    """Multiply local blocks; only operands on the wrong axis are redistributed."""

    def relate(self, operation: graph.ConvolutionWeightGradient, relations: Relations) -> None:
        relations.put_across_if_possible(operation.input, operation.gradient)

    def lower(self, operation: graph.ConvolutionWeightGradient, builder: Builder) -> None:
        blocks, axis = lay_factors(operation, builder)
        features = builder.tensor(operation.input).shape[-1]
        window = upright(operation.window)
        for column in columns_of(window):
            builder.append(mesh.AddTapProducts(*blocks, window, axis, features, column))


class DepthwiseInputGradientLowering(AlikeLowering[graph.DepthwiseInputGradient]):
    """Multiply and add locally; the weights lie as the gradient's columns do."""

    def lower(self, operation: graph.DepthwiseInputGradient, builder: Builder) -> None:
        layout = builder.layouts[operation.result.name]
        check_stride(operation, layout)
        weight = builder.parameters.place_vector(operation.weight, layout)
        source, result = builder.blocks[operation.gradient], builder.allocate(operation.result)
        builder.append(mesh.DepthwiseInputGradient(result, source, weight, operation.window))


class DepthwiseWeightGradientLowering(Lowering[graph.DepthwiseWeightGradient]):
    """Multiply local blocks; only an operand on the wrong axis is redistributed."""

    def relate(self, operation: graph.DepthwiseWeightGradient, relations: Relations) -> None:
        relations.order_alike(operation.input, operation.gradient)

    def lower(self, operation: graph.DepthwiseWeightGradient, builder: Builder) -> None:
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
    """Refuse a result whose lines are longer than the kernel's scratch."""
    width = operation.window.result_width
    if width > CHUNK:
        raise TooLargeError(
            f"{type(operation).__name__} with a result of {width} pixels in a line is not "
            f"supported, at most with {CHUNK}"
        )


class MaxPoolGradientLowering(Lowering[graph.MaxPoolGradient]):
    """Compare each tap with the maximum locally."""

    def relate(self, operation: graph.MaxPoolGradient, relations: Relations) -> None:
        for name in (operation.input, operation.found):
            relations.join(name, operation.result.name)
        relations.order_alike(operation.gradient, operation.result.name)

    def lower(self, operation: graph.MaxPoolGradient, builder: Builder) -> None:
        layout = builder.layouts[operation.result.name]
        check_stride(operation, layout)
        _check_width(operation)
        gradient = builder.lay(operation.gradient, layout.axis)
        source, found = (builder.blocks[name] for name in (operation.input, operation.found))
        rest, result = builder.spare(found.rows, found.columns), builder.allocate(operation.result)
        window = operation.window
        builder.append(mesh.MaxPoolGradient(result, gradient, source, found, rest, window))


class RepeatRowsLowering(AlikeLowering[graph.RepeatRows]):
    """Copy rows locally."""

    def lower(self, operation: graph.RepeatRows, builder: Builder) -> None:
        """Append the copy; refuse it where rows are tokens, whose programs lack this kernel."""
        if builder.is_sequence:
            raise UnsupportedOperationError(
                "the mean over all rows has no gradient where rows are tokens that attend to each "
                "other; take that of one row, or train without attention"
            )
        source = builder.blocks[operation.input]
        builder.append(mesh.RepeatRows(builder.allocate(operation.result), source))


LOWERINGS: Lowerings = {
    Convolution: ConvolutionLowering(),
    DepthwiseConvolution: DepthwiseConvolutionLowering(),
    MaxPool: MaxPoolLowering(),
    GlobalAveragePool: GlobalAveragePoolLowering(),
    ScaleFeatureMaps: ScaleFeatureMapsLowering(),
    graph.ConvolutionInputGradient: ConvolutionInputGradientLowering(),
    graph.ConvolutionWeightGradient: ConvolutionWeightGradientLowering(),
    graph.DepthwiseInputGradient: DepthwiseInputGradientLowering(),
    graph.DepthwiseWeightGradient: DepthwiseWeightGradientLowering(),
    graph.MaxPoolGradient: MaxPoolGradientLowering(),
    graph.RepeatRows: RepeatRowsLowering(),
}
