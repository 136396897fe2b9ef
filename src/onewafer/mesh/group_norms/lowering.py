"""Lowering of group norms: statistics of each feature, joined over the PEs of a group.

The steps are those of a batch norm, for each sample alone. Between them an all-reduce of one number
for each sample and group turns the sums of features into means of groups, and each feature gets the
mean of its group. A group of one feature needs no such step.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from onewafer import graph
from onewafer.errors import UnsupportedOperationError
from onewafer.mesh.batch_norms import (
    BatchStatistics,
    BatchVariance,
    GroupNormBackward,
    NormalizeBatch,
    SumBatchProducts,
)
from onewafer.mesh.batch_norms.lowering import check
from onewafer.mesh.blocks import PLAIN_ORDER
from onewafer.mesh.elementwise import ScaleFeatures
from onewafer.mesh.feature_maps import GlobalAveragePool
from onewafer.mesh.gradients import AddRows
from onewafer.mesh.lowering.lowering import AlikeLowering, Lowering, Lowerings
from onewafer.mesh.norms import Groups, SpreadGroups, SumGroups

if TYPE_CHECKING:
    from onewafer.mesh.blocks import Block
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.relations import Relations

    _Gradient: TypeAlias = graph.GroupNormInputGradient | graph.GroupNormWeightGradient
    _Any: TypeAlias = graph.GroupNorm | _Gradient


class GroupNormLowering(AlikeLowering[graph.GroupNorm]):
    """Scale and shift by the statistics of groups, which are saved for a backward pass."""

    def lower(self, operation: graph.GroupNorm, builder: Builder) -> None:
        name, source = operation.input, builder.blocks[operation.input]
        check(source, builder)
        layout = builder.layouts[operation.result.name]
        if layout.order != PLAIN_ORDER:
            raise UnsupportedOperationError(
                "a norm of groups of features that lie as attention heads do is not supported"
            )
        vectors = (
            builder.parameters.place_vector(vector, layout)
            for vector in (operation.weight, operation.bias)
        )
        samples, last = source.rows // operation.rows, builder.last_reader(name)
        mean, variance = (builder.spare(samples, source.columns, until=last) for _ in range(2))
        builder.append(GlobalAveragePool(mean, source, mean))
        _join_groups(mean, operation, builder)
        room = builder.spare(1, operation.rows)
        builder.append(BatchVariance(variance, source, mean, room))
        _join_groups(variance, operation, builder)
        found = BatchStatistics(mean, variance, operation.epsilon)
        builder.saved.group_norms[name, operation.groups, operation.epsilon] = found
        result = builder.allocate(operation.result)
        builder.append(NormalizeBatch(result, source, found, *vectors))


class GroupNormInputGradientLowering(Lowering[graph.GroupNormInputGradient]):
    """Sum gradients, and products with the normalized input, by group; then scale."""

    def relate(self, operation: graph.GroupNormInputGradient, relations: Relations) -> None:
        relations.order_alike(operation.input, operation.gradient)
        relations.join(operation.input, operation.result.name)

    def lower(self, operation: graph.GroupNormInputGradient, builder: Builder) -> None:
        layout, source = builder.layouts[operation.input], builder.blocks[operation.input]
        gradient = builder.lay(operation.gradient, layout.axis)
        found = _statistics(operation, builder)
        weight = builder.parameters.place_vector(operation.weight, layout)
        samples, columns = found.mean.rows, source.columns
        both = builder.spare(2 * samples, columns)
        products = replace(both, rows=samples)
        slopes = replace(products, offset=both.offset + products.num_elements)
        _append_products(products, gradient, source, found, builder)
        builder.append(GlobalAveragePool(slopes, gradient, slopes))
        builder.append(ScaleFeatures(both, both, weight))
        _join_groups(both, operation, builder)
        result = builder.allocate(operation.result)
        builder.append(GroupNormBackward(result, gradient, source, found, weight, products, slopes))


class GroupNormWeightGradientLowering(Lowering[graph.GroupNormWeightGradient]):
    """Add up the gradient times the normalized input, over all rows of all samples."""

    def relate(self, operation: graph.GroupNormWeightGradient, relations: Relations) -> None:
        relations.order_alike(operation.input, operation.gradient)

    def lower(self, operation: graph.GroupNormWeightGradient, builder: Builder) -> None:
        layout, source = builder.layouts[operation.input], builder.blocks[operation.input]
        gradient = builder.lay(operation.gradient, layout.axis)
        result = builder.gradient(operation.result.name, columns=layout)
        found = _statistics(operation, builder)
        products = builder.spare(found.mean.rows, source.columns)
        _append_products(products, gradient, source, found, builder)
        builder.append(AddRows(result, products))


def _append_products(
    products: Block, gradient: Block, source: Block, found: BatchStatistics, builder: Builder
) -> None:
    """Append the sums, for each sample, of the gradient times the normalized rows."""
    room = builder.spare(1, source.rows // found.mean.rows)
    builder.append(SumBatchProducts(products, gradient, source, found, room))


def _join_groups(block: Block, operation: _Any, builder: Builder) -> None:
    """Replace each feature by the mean over its group, in every row of a block."""
    axis = builder.layouts[operation.input].axis
    features = builder.tensor(operation.input).shape[-1]
    groups = Groups(operation.groups, features // operation.groups)
    if groups.group_size == 1:
        return
    totals = builder.spare(block.rows, groups.num_groups)
    builder.append(SumGroups(totals, block, groups, axis))
    builder.all_reduce(totals, axis)
    builder.append(SpreadGroups(block, totals, groups, axis))


def _statistics(operation: _Gradient, builder: Builder) -> BatchStatistics:
    key = operation.input, operation.groups, operation.epsilon
    found = builder.saved.group_norms.get(key)
    if found is None:
        raise UnsupportedOperationError("it has no norm before it, which finds the statistics")
    return found


LOWERINGS: Lowerings = {
    graph.GroupNorm: GroupNormLowering(),
    graph.GroupNormInputGradient: GroupNormInputGradientLowering(),
    graph.GroupNormWeightGradient: GroupNormWeightGradientLowering(),
}
