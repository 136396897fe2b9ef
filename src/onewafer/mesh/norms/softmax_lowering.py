"""Softmax: local work, all-reduces of the maximum and of the sum of each row and group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.graph import Softmax
from onewafer.mesh.lowering.lowering import Lowering, Lowerings
from onewafer.mesh.norms import DivideGroups, FindGroupMaxima, WeighGroups
from onewafer.mesh.norms.arrays import Groups
from onewafer.mesh.relations import Heads

if TYPE_CHECKING:
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.relations import Relations


class SoftmaxLowering(Lowering[Softmax]):
    """Find the largest, compute exponentials and their sums, divide."""

    works_in_place = True

    def relate(self, operation: Softmax, relations: Relations) -> None:
        """Give the result the layout of the input, and groups of features the layout of heads."""
        relations.join(operation.input, operation.result.name)
        if operation.groups > 1:
            size = operation.result.shape[-1] // operation.groups
            relations.arrange(operation.input, Heads.of(size))

    def lower(self, operation: Softmax, builder: Builder) -> None:
        """Append the mesh operations."""
        layout, count = builder.layouts[operation.result.name], operation.groups
        axis, members = layout.axis, layout.order.members if count > 1 else 1
        groups = Groups(count, operation.result.shape[-1] // count, members)
        source = builder.blocks[operation.input]
        maxima, totals = (builder.scratch(source.rows, count) for _ in range(2))
        builder.append(FindGroupMaxima(maxima, source, groups, axis))
        builder.all_reduce_max(maxima, axis)
        result = builder.allocate_in_place(operation)
        weights = builder.sums_of(result)
        builder.append(WeighGroups(weights, totals, source, maxima, groups, axis))
        builder.all_reduce(totals, axis)
        builder.append(DivideGroups(result, weights, totals, groups, axis))


LOWERINGS: Lowerings = {Softmax: SoftmaxLowering()}
