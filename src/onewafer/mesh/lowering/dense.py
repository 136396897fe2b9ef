"""Linear operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.graph import Linear
from onewafer.mesh.lowering.lowering import Lowering
from onewafer.mesh.operations import Matmul

if TYPE_CHECKING:
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.relations import Relations


class LinearLowering(Lowering[Linear]):
    """Multiply the blocks, and add the partial sums along the axis of the input."""

    def relate(self, operation: Linear, relations: Relations) -> None:
        """Let the result lie along the other axis than the input."""
        relations.turn(operation.input, operation.result.name)

    def lower(self, operation: Linear, builder: Builder) -> None:
        """Append the multiplication and the all-reduce."""
        source, layout = builder.blocks[operation.input], builder.layouts[operation.input]
        result_layout = builder.layouts[operation.result.name]
        weight = builder.place_weight(operation.weight, layout, result_layout)
        result = builder.allocate(operation.result)
        sums = builder.sums_of(result)
        features = operation.result.shape[-1]
        builder.append(Matmul(sums, source, weight, result_layout.axis, features))
        builder.all_reduce(sums, layout.axis)
        builder.store(sums, result)
