"""Norms over a batch: each PE has all rows of its features, so that nothing is exchanged.

Unless groups of PEs have a part of the samples each: then means go from group to group.
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
    """Add up rows and scale."""

    def lower(self, operation: graph.BatchMean, builder: Builder) -> None:
        """Append the mean, which a norm of the same rows finds again."""
        source, result = builder.blocks[operation.input], builder.allocate(operation.result)
        check(source, builder)
        builder.append(GlobalAveragePool(result, source, result))
        average_groups(result, builder, axis=builder.layouts[operation.input].axis)
        if builder.is_output(operation.result.name):
            builder.saved.batch_means[operation.input] = result


class BatchVarianceLowering(AlikeLowering[graph.BatchVariance]):
    """Add up squares of differences from the mean, and scale."""

    def lower(self, operation: graph.BatchVariance, builder: Builder) -> None:
        """Append the variance, which a norm of the same rows finds again."""
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
    """Scale and shift by the statistics of the batch, which stay for the backward pass."""

    def lower(self, operation: graph.BatchNorm, builder: Builder) -> None:
        """Append the mesh operations."""
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
    """Add up products with the gradient, take its mean, and scale."""

    def relate(self, operation: graph.BatchNormInputGradient, relations: Relations) -> None:
        """Let all tensors have one layout, the gradient only if no other relation forbids it."""
        relations.order_alike(operation.input, operation.gradient)
        relations.join(operation.input, operation.result.name)

    def lower(self, operation: graph.BatchNormInputGradient, builder: Builder) -> None:
        """Append the mesh operations."""
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
    """Add up products with the gradient."""

    def relate(self, operation: graph.BatchNormWeightGradient, relations: Relations) -> None:
        """Give both operands one layout if no relation forbids it."""
        relations.order_alike(operation.input, operation.gradient)

    def lower(self, operation: graph.BatchNormWeightGradient, builder: Builder) -> None:
        """Append the mesh operations."""
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
    """Refuse f16, and blocks so wide that a column is no vector."""
    if builder.dtype is not DataType.F32:
        raise UnsupportedOperationError("norms over rows are supported in f32 only")
    if source.columns > MOST_STRIDE:
        raise TooLargeError(
            f"a norm over rows with {source.columns} features on each PE is not supported, at "
            f"most with {MOST_STRIDE}; use more PEs"
        )


def _append_mean(source: Block, axis: Axis, builder: Builder, *, until: int | None = None) -> Block:
    """Append the mean over all rows; return its block, which lives until an operation is done."""
    mean = builder.spare(1, source.columns, until=until)
    builder.append(GlobalAveragePool(mean, source, mean))
    average_groups(mean, builder, axis=axis)
    return mean


def _append_variance(
    variance: Block, source: Block, mean: Block, axis: Axis, builder: Builder
) -> None:
    """Append the mean over all rows of squared differences from the mean."""
    builder.append(BatchVariance(variance, source, mean, builder.spare(1, source.rows)))
    average_groups(variance, builder, axis=axis)


def _append_products(
    gradient: Block, source: Block, found: BatchStatistics, builder: Builder
) -> Block:
    """Append the sums over the rows of a group of a gradient times the normalised rows."""
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
