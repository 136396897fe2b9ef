"""Norms over a batch: each PE has all rows of its features, so no values are exchanged.

If groups of PEs divide the samples, the means are reduced over the groups.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer import graph
from onewafer.errors import TooLargeError, UnsupportedOperationError
from onewafer.graph import DataType
from onewafer.mesh.batch_norms.operations import (
    BatchNormBackward,
    BatchStatistics,
    BatchVariance,
    NormalizeBatch,
    SumBatchProducts,
)
from onewafer.mesh.feature_maps import GlobalAveragePool
from onewafer.mesh.gradients import AddRows
from onewafer.mesh.lowering.lowering import AlikeLowering, Lowering, Lowerings
from onewafer.mesh.sample_groups.sums import average_groups
from onewafer.mesh.sizes import MOST_STRIDE

if TYPE_CHECKING:
    from onewafer.mesh.blocks import Axis, Block
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.relations import Relations


class BatchMeanLowering(AlikeLowering[graph.BatchMean]):
    """Sum the rows and scale the sum."""

    def lower(self, operation: graph.BatchMean, builder: Builder) -> None:
        """Append the mean; a norm of the same rows reuses its block."""
        source, result = builder.blocks[operation.input], builder.allocate(operation.result)
        check(source, builder)
        builder.append(GlobalAveragePool(result, source, result))
        average_groups(result, builder, axis=builder.layouts[operation.input].axis)
        if builder.is_output(operation.result.name):
            builder.saved.batch_means[operation.input] = result


class BatchVarianceLowering(AlikeLowering[graph.BatchVariance]):
    """Sum the squared differences from the mean, and scale the sum."""

    def lower(self, operation: graph.BatchVariance, builder: Builder) -> None:
        """Append the variance; a norm of the same rows reuses its block."""
        source, result = builder.blocks[operation.input], builder.allocate(operation.result)
        check(source, builder)
        axis, mean = (
            builder.layouts[operation.input].axis,
            builder.saved.batch_means.get(operation.input),
        )
        mean = mean or _append_mean(source, axis, builder)
        _append_variance(result, source, mean, axis, builder)
        if builder.is_output(operation.result.name):
            builder.saved.batch_variances[operation.input] = result


class BatchNormLowering(AlikeLowering[graph.BatchNorm]):
    """Scale and shift by the batch statistics, which are saved for the backward pass."""

    def lower(self, operation: graph.BatchNorm, builder: Builder) -> None:
        name, source = operation.input, builder.blocks[operation.input]
        check(source, builder)
        layout = builder.layouts[operation.result.name]
        vectors = (
            builder.parameters.place_vector(vector, layout)
            for vector in (operation.weight, operation.bias)
        )
        last = builder.last_reader(name)
        mean = builder.saved.batch_means.get(name)
        if mean is None:
            mean = _append_mean(source, layout.axis, builder, until=last)
        variance = builder.saved.batch_variances.get(name)
        if variance is None:
            variance = builder.spare(1, source.columns, until=last)
            _append_variance(variance, source, mean, layout.axis, builder)
        found = BatchStatistics(mean, variance, operation.epsilon)
        builder.saved.batch_norms[name, operation.epsilon] = found
        result = builder.allocate(operation.result)
        builder.append(NormalizeBatch(result, source, found, *vectors))


class BatchNormInputGradientLowering(Lowering[graph.BatchNormInputGradient]):
    """Sum the gradient's products with the normalised rows, take the gradient's mean, and scale."""

    def relate(self, operation: graph.BatchNormInputGradient, relations: Relations) -> None:
        relations.order_alike(operation.input, operation.gradient)
        relations.join(operation.input, operation.result.name)

    def lower(self, operation: graph.BatchNormInputGradient, builder: Builder) -> None:
        layout = builder.layouts[operation.input]
        gradient, source = (
            builder.lay(operation.gradient, layout.axis),
            builder.blocks[operation.input],
        )
        found = _statistics(operation, builder)
        weight = builder.parameters.place_vector(operation.weight, layout)
        products = _append_products(gradient, source, found, builder)
        average_groups(products, builder, axis=layout.axis)
        slopes = _append_mean(gradient, layout.axis, builder)
        result = builder.allocate(operation.result)
        builder.append(BatchNormBackward(result, gradient, source, found, weight, products, slopes))


class BatchNormWeightGradientLowering(Lowering[graph.BatchNormWeightGradient]):
    """Sum the products of the gradient and the normalised rows."""

    def relate(self, operation: graph.BatchNormWeightGradient, relations: Relations) -> None:
        relations.order_alike(operation.input, operation.gradient)

    def lower(self, operation: graph.BatchNormWeightGradient, builder: Builder) -> None:
        layout = builder.layouts[operation.input]
        gradient, source = (
            builder.lay(operation.gradient, layout.axis),
            builder.blocks[operation.input],
        )
        result = builder.gradient(operation.result.name, columns=layout)
        found = _statistics(operation, builder)
        products = _append_products(gradient, source, found, builder)
        builder.append(AddRows(result, products))


def check(source: Block, builder: Builder) -> None:
    """Refuse f16, and blocks with more columns than a column DSD's stride allows."""
    if builder.dtype is not DataType.F32:
        raise UnsupportedOperationError("norms over rows are supported in f32 only")
    if source.columns > MOST_STRIDE:
        raise TooLargeError(
            f"a norm over rows with {source.columns} features on each PE is not supported, at "
            f"most with {MOST_STRIDE}; use more PEs"
        )


def _append_mean(source: Block, axis: Axis, builder: Builder, *, until: int | None = None) -> Block:
    """Append the mean over all rows; return its block, live until the operation `until`."""
    mean = builder.spare(1, source.columns, until=until)
    builder.append(GlobalAveragePool(mean, source, mean))
    average_groups(mean, builder, axis=axis)
    return mean


def _append_variance(
    variance: Block, source: Block, mean: Block, axis: Axis, builder: Builder
) -> None:
    """Append the mean over all rows of the squared difference from the mean."""
    builder.append(BatchVariance(variance, source, mean, builder.spare(1, source.rows)))
    average_groups(variance, builder, axis=axis)


def _append_products(
    gradient: Block, source: Block, found: BatchStatistics, builder: Builder
) -> Block:
    """Append the sums, over a group's rows, of gradient times normalised row."""
    products, room = builder.spare(1, source.columns), builder.spare(1, source.rows)
    builder.append(SumBatchProducts(products, gradient, source, found, room))
    return products


def _statistics(
    operation: graph.BatchNormInputGradient | graph.BatchNormWeightGradient, builder: Builder
) -> BatchStatistics:
    found = builder.saved.batch_norms.get((operation.input, operation.epsilon))
    if found is None:
        raise UnsupportedOperationError("it has no norm before it, which finds the statistics")
    return found


LOWERINGS: Lowerings = {
    graph.BatchMean: BatchMeanLowering(),
    graph.BatchVariance: BatchVarianceLowering(),
    graph.BatchNorm: BatchNormLowering(),
    graph.BatchNormInputGradient: BatchNormInputGradientLowering(),
    graph.BatchNormWeightGradient: BatchNormWeightGradientLowering(),
}
