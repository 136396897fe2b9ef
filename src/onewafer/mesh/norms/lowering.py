"""Normalization: local sums, all-reduces of one number a row and group, local scaling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.graph import LayerNorm, Linear, RmsNorm
from onewafer.mesh.dense.lowering import joined
from onewafer.mesh.lowering.lowering import Lowering, Lowerings
from onewafer.mesh.norms import Normalize, SumGroups, SumSquares
from onewafer.mesh.norms.arrays import Groups
from onewafer.mesh.relations import Heads

if TYPE_CHECKING:
    from onewafer.mesh.blocks import Layout
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.relations import Relations


class RmsNormLowering(Lowering[RmsNorm]):
    """Sum squares, add them along the axis of the features, scale.

    What only products read that come next and together is normalized after them: its factor is one
    number a row, and the squares go along the axis with the sums of the products.
    """

    works_in_place = True

    def relate(self, operation: RmsNorm, relations: Relations) -> None:
        """Let the result lie as the input does; groups of features lie as heads do."""
        _relate(operation, relations)

    def lower(self, operation: RmsNorm, builder: Builder) -> None:
        """Append the steps."""
        if _may_wait(operation, builder):
            builder.put_off_norm(operation)
            return
        layout = builder.layouts[operation.result.name]
        groups = _groups(operation, layout)
        weight = builder.place_vector(operation.weight, layout, copies=operation.groups)
        source = builder.blocks[operation.input]
        squares = builder.scratch(source.rows, groups.num_groups)
        builder.append(SumSquares(squares, source, groups, layout.axis))
        builder.all_reduce(squares, layout.axis)
        result = builder.allocate_in_place(operation)
        builder.append(
            Normalize(result, source, squares, weight, groups, layout.axis, operation.epsilon)
        )


def _may_wait(operation: RmsNorm, builder: Builder) -> bool:
    """Return whether the result is only multiplied by weights, all in the step that comes next."""
    name = operation.result.name
    readers = builder.readers(name)
    if operation.groups > 1 or builder.is_output(name) or not readers:
        return False
    first = readers[0]
    return (
        first is builder.next_operation
        and isinstance(first, Linear)
        and builder.size(builder.layouts[name].axis) > 1
        and len(joined(first, builder)) == len(readers)
    )


class LayerNormLowering(Lowering[LayerNorm]):
    """Sum, sum squared differences from the mean, scale; an all-reduce after each sum."""

    works_in_place = True

    def relate(self, operation: LayerNorm, relations: Relations) -> None:
        """Let the result lie as the input does; groups of features lie as heads do."""
        _relate(operation, relations)

    def lower(self, operation: LayerNorm, builder: Builder) -> None:
        """Append the steps."""
        layout = builder.layouts[operation.result.name]
        axis, groups = layout.axis, _groups(operation, layout)
        weight, bias = (
            builder.place_vector(vector, layout, copies=operation.groups)
            for vector in (operation.weight, operation.bias)
        )
        source = builder.blocks[operation.input]
        sums, squares = (builder.scratch(source.rows, groups.num_groups) for _ in range(2))
        builder.append(SumGroups(sums, source, groups, axis))
        builder.all_reduce(sums, axis)
        builder.append(SumSquares(squares, source, groups, axis, sums))
        builder.all_reduce(squares, axis)
        result = builder.allocate_in_place(operation)
        builder.append(
            Normalize(result, source, squares, weight, groups, axis, operation.epsilon, sums, bias)
        )


def _relate(operation: RmsNorm | LayerNorm, relations: Relations) -> None:
    relations.join(operation.input, operation.result.name)
    if operation.groups > 1:
        features = operation.result.shape[-1]
        relations.arrange(operation.input, Heads.of(features // operation.groups))


def _groups(operation: RmsNorm | LayerNorm, layout: Layout) -> Groups:
    members = layout.order.members if operation.groups > 1 else 1
    return Groups(operation.groups, operation.result.shape[-1] // operation.groups, members)


LOWERINGS: Lowerings = {RmsNorm: RmsNormLowering(), LayerNorm: LayerNormLowering()}
