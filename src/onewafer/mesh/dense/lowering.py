"""Lowering of linear layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.graph import FLOATING, DataType, Linear
from onewafer.mesh.dense import Factor, Matmul, Matmuls, Split
from onewafer.mesh.lowering.lowering import Lowering, Lowerings
from onewafer.mesh.norms import StoreNormalized, SumRowSquares
from onewafer.mesh.norms.arrays import Groups

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.mesh.blocks import Block
    from onewafer.mesh.distances import Bounded, Distances
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.relations import Relations

MOST_WORDS = 1024
"""The most words of sums that are reduced together. Their memory must be contiguous, and with many
words the latency of the first one matters little."""


class LinearLowering(Lowering[Linear]):
    """Multiply local blocks, and all-reduce the partial sums along the axis of the input.

    Linear operations on one input are lowered together with the first of them: query, key and value
    of attention, gate and up of an MLP. Their sums are all-reduced as one block.
    """

    bounded_types = FLOATING

    def relate(self, operation: Linear, relations: Relations) -> None:
        relations.multiply(operation.input, operation.weight, operation.result.name)

    def lower(self, operation: Linear, builder: Builder) -> None:
        """Append the product and the all-reduce, unless an earlier operation has appended them."""
        if operation.result.name in builder.blocks:
            return
        together = joined(operation, builder)
        if operation.input in builder.put_off:
            _lower_normed(together, builder)
            return
        if len(together) > 1:
            _lower_together(together, builder)
            return
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
        builder.append(Matmul(sums, source, weight, result_layout.axis, features))
        builder.all_reduce_into(result, sums, layout.axis)

    def bound(self, operation: Linear, distances: Distances) -> Bounded:
        """Return the product with its error bound, valid for any order of summation."""
        weight = distances.of(operation.weight).exact
        return distances.product(distances.of(operation.input), weight)


def joined(operation: Linear, builder: Builder) -> tuple[Linear, ...]:
    """Return the operation and later linear operations that are lowered together with it."""
    rows = operation.result.num_elements // operation.result.shape[-1]
    is_copied = rows > 1 and builder.dtype is DataType.F32
    least = builder.least_joining if is_copied else 2
    axis = builder.layouts[operation.input].axis
    if builder.size(axis) < least or builder.layouts[operation.result.name].axis is axis:
        return (operation,)
    together, columns = [operation], builder.layouts[operation.result.name].columns
    for other in builder.readers(operation.input):
        name = other.result.name
        if not isinstance(other, Linear) or other is operation or name in builder.blocks:
            continue
        if builder.layouts[name].axis is axis:
            continue  # it needs a redistributed operand
        columns += builder.layouts[name].columns
        if rows * columns > MOST_WORDS:
            break
        together.append(other)
    return tuple(together)


def _lower_together(together: Sequence[Linear], builder: Builder) -> None:
    layout = builder.layouts[together[0].input]
    factors: list[Factor] = []
    for operation in together:
        to = builder.layouts[operation.result.name]
        weight = builder.parameters.place_weight(operation.weight, layout, to)
        factors.append(Factor(weight, operation.result.shape[-1]))
    tensors = [operation.result for operation in together]
    if tensors[0].num_elements == tensors[0].shape[-1]:
        result = builder.allocate_beside(tensors)
        sums = builder.sums_of(result)
        _multiply(sums, factors, together, builder)
        builder.all_reduce_into(result, sums, layout.axis)
        return
    results = tuple(map(builder.allocate, tensors))
    sums = builder.scratch(results[0].rows, sum(block.columns for block in results))
    _multiply(sums, factors, together, builder)
    builder.all_reduce(sums, layout.axis)
    builder.append(Split(results, sums))


def _lower_normed(together: Sequence[Linear], builder: Builder) -> None:
    """Normalise the products, not their operand; reduce its sum of squares with the products."""
    name = together[0].input
    put_off, layout = builder.put_off[name], builder.layouts[name]
    norm = put_off.norm
    factors = [
        Factor(
            builder.parameters.place_weight(
                operation.weight,
                layout,
                builder.layouts[operation.result.name],
                factors=norm.weight,
            ),
            operation.result.shape[-1],
        )
        for operation in together
    ]
    tensors = [operation.result for operation in together]
    is_one_row = tensors[0].num_elements == tensors[0].shape[-1]
    results = (
        (builder.allocate_beside(tensors),) if is_one_row else tuple(map(builder.allocate, tensors))
    )
    columns = sum(block.columns for block in results) + 1
    sums, source = builder.scratch(results[0].rows, columns), builder.blocks[name]
    builder.append(Matmuls(sums, source, tuple(factors), layout.axis.other))
    groups, epsilon = Groups(1, norm.result.shape[-1]), norm.epsilon
    builder.append(SumRowSquares(sums, source, groups, layout.axis), source=put_off.source)
    builder.all_reduce(sums, layout.axis)
    builder.append(StoreNormalized(results, sums, groups, epsilon))


def _multiply(
    sums: Block, factors: Sequence[Factor], together: Sequence[Linear], builder: Builder
) -> None:
    source = together[0].input
    axis = builder.layouts[source].axis
    builder.append(Matmuls(sums, builder.blocks[source], tuple(factors), axis.other))


LOWERINGS: Lowerings = {Linear: LinearLowering()}
