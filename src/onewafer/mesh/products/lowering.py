"""Lowering of batched products: local products, and an all-reduce along the left operand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.errors import UnsupportedOperationError
from onewafer.graph import BatchedMatmul
from onewafer.mesh.blocks import PLAIN_ORDER
from onewafer.mesh.lowering.lowering import Lowering, Lowerings
from onewafer.mesh.products import MultiplyBlocks, ProductShape

if TYPE_CHECKING:
    from onewafer.mesh.blocks import Axis
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.relations import Relations

_MOST_FEATURES = (1 << 16) - 1
"""The kernel counts features in u16, padding included."""


class BatchedMatmulLowering(Lowering[BatchedMatmul]):
    """Multiply local blocks, and all-reduce along the axis of the left operand.

    As for a linear layer, the result lies along the other axis. A PE has all rows of the right
    operand, whose features lie as those that they are paired with: those of the left operand or of
    the result. If its layout is fixed otherwise, it is redistributed first.
    """

    def relate(self, operation: BatchedMatmul, relations: Relations) -> None:
        """Lay the result along the other axis, and the right operand as its partner if possible."""
        relations.put_across(operation.left, operation.result.name)
        if operation.is_transposed:
            relations.join_if_possible(operation.left, operation.right)
        else:
            relations.join_if_possible(operation.right, operation.result.name)

    def lower(self, operation: BatchedMatmul, builder: Builder) -> None:
        left, to = (builder.layouts[name] for name in (operation.left, operation.result.name))
        shape = _shape(operation, builder, left.axis)
        _check_sizes(operation, builder)
        _check_orders(operation, builder, shape)
        right = builder.lay(operation.right, left.axis if operation.is_transposed else to.axis)
        depth = min(left.columns, shape.left_size)
        piece = builder.spare(1, depth * min(to.columns, shape.result_size))
        result = builder.allocate(operation.result)
        sums, source = builder.sums_of(result), builder.blocks[operation.left]
        builder.append(MultiplyBlocks(sums, source, right, piece, shape))
        builder.all_reduce(sums, left.axis)
        builder.store(sums, result)


def _shape(operation: BatchedMatmul, builder: Builder, axis: Axis) -> ProductShape:
    left, right = builder.tensor(operation.left), builder.tensor(operation.right)
    samples = left.shape[0] // operation.rows
    return ProductShape(
        axis=axis,
        samples=samples,
        rows=operation.rows,
        right_rows=right.shape[0] // samples,
        groups=operation.groups,
        left_size=left.shape[1] // operation.groups,
        result_size=operation.result.shape[1] // operation.groups,
        is_transposed=operation.is_transposed,
    )


def _check_orders(operation: BatchedMatmul, builder: Builder, shape: ProductShape) -> None:
    """Refuse an order of features that the kernel does not support.

    The features of the right operand and of its partner may have any order within their groups.
    """
    is_transposed = operation.is_transposed
    meets, other = operation.left, operation.result.name
    if not is_transposed:
        meets, other = other, meets
    size = shape.left_size if is_transposed else shape.result_size
    order = builder.layouts[meets].order
    alike = order == builder.layouts[operation.right].order
    is_within_groups = order == PLAIN_ORDER or (order.members, order.head_dim) == (1, size)
    if alike and is_within_groups and builder.layouts[other].order == PLAIN_ORDER:
        return
    raise UnsupportedOperationError(
        "a batched product of features in the order that operations on attention heads ask for "
        "is not supported"
    )


def _check_sizes(operation: BatchedMatmul, builder: Builder) -> None:
    for name in (operation.left, operation.right, operation.result.name):
        layout = builder.layouts[name]
        if layout.columns * builder.size(layout.axis) > _MOST_FEATURES:
            raise UnsupportedOperationError(
                f"a batched product of {builder.tensor(name).shape[-1]:,} features is not "
                f"supported; its kernel counts up to {_MOST_FEATURES:,}"
            )


LOWERINGS: Lowerings = {BatchedMatmul: BatchedMatmulLowering()}
