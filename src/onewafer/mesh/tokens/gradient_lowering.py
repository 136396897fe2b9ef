"""Gradients of tables that rows are looked up in, and of what is rotated."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from onewafer import graph
from onewafer.mesh.lowering.lowering import Lowering, Lowerings
from onewafer.mesh.relations import Heads
from onewafer.mesh.tokens.gradients import (
    AddPositions,
    AddTokens,
    PlaceRow,
    PlaceRowAt,
    TurnAngles,
)
from onewafer.mesh.tokens.lowering import angle_layout, append_rotation, look_up_angles

if TYPE_CHECKING:
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.relations import Relations

OneRowGradient: TypeAlias = graph.FirstRowGradient | graph.LastRowGradient


class EmbeddingGradientLowering(Lowering[graph.EmbeddingGradient]):
    """Add the rows that a PE has the entries of: no exchange at all."""

    def relate(self, operation: graph.EmbeddingGradient, relations: Relations) -> None:
        """Ask for nothing: the gradient lies as the rows that were looked up."""

    def lower(self, operation: graph.EmbeddingGradient, builder: Builder) -> None:
        """Append the mesh operation that adds."""
        result = builder.gradient(operation.result.name, rows=builder.layouts[operation.gradient])
        source, indices = builder.blocks[operation.gradient], builder.blocks[operation.indices]
        axis = builder.layouts[operation.gradient].axis.other
        builder.append(AddTokens(result, source, indices, axis, operation.padding))


class PositionEmbeddingGradientLowering(Lowering[graph.PositionEmbeddingGradient]):
    """Add the rows at the positions that a PE has: no exchange at all."""

    def relate(self, operation: graph.PositionEmbeddingGradient, relations: Relations) -> None:
        """Ask for nothing: the gradient lies as the rows that were looked up."""

    def lower(self, operation: graph.PositionEmbeddingGradient, builder: Builder) -> None:
        """Append the mesh operation that adds."""
        result = builder.gradient(
            operation.result.name, columns=builder.layouts[operation.gradient]
        )
        source, axis = builder.blocks[operation.gradient], builder.layouts[operation.gradient].axis
        builder.append(AddPositions(result, source, axis.other))


class RotaryGradientLowering(Lowering[graph.RotaryGradient]):
    """Rotate back: by the same cosines, and sines that are negated once a launch for all layers."""

    works_in_place = True

    def relate(self, operation: graph.RotaryGradient, relations: Relations) -> None:
        """Ask for features that are rotated together to be neighbours."""
        relations.join(operation.gradient, operation.result.name)
        head_dim = operation.result.shape[-1] // operation.heads
        relations.arrange(operation.gradient, Heads.of(head_dim, swapped=operation.num_swapped))

    def prepare(self, operation: graph.RotaryGradient, builder: Builder) -> None:
        """Look up the angles, and negate the sines, unless that has been done already."""
        key = operation.sine, *angle_layout(operation, builder)
        look_up_angles(operation.cosine, operation, builder)
        sine = look_up_angles(operation.sine, operation, builder)
        if key not in builder.saved.angles:
            negated = builder.keep(sine.rows, sine.columns)
            builder.append(TurnAngles(negated, sine))
            builder.saved.angles[key] = negated

    def lower(self, operation: graph.RotaryGradient, builder: Builder) -> None:
        """Append the rotation."""
        sine = builder.saved.angles[operation.sine, *angle_layout(operation, builder)]
        cosine = look_up_angles(operation.cosine, operation, builder)
        append_rotation(operation, builder, cosine, sine)


class OneRowGradientLowering(Lowering[OneRowGradient]):
    """Put a row among rows of zeros."""

    def __init__(self, *, is_last: bool) -> None:
        self._is_last = is_last

    def relate(self, operation: OneRowGradient, relations: Relations) -> None:
        """Give all tensors one layout."""
        relations.join(operation.gradient, operation.result.name)

    def lower(self, operation: OneRowGradient, builder: Builder) -> None:
        """Append the row."""
        source, result = builder.blocks[operation.gradient], builder.allocate(operation.result)
        builder.append(PlaceRow(result, source, self._is_last))


class RowAtGradientLowering(Lowering[graph.RowAtGradient]):
    """Put a row in the place that an index names."""

    def relate(self, operation: graph.RowAtGradient, relations: Relations) -> None:
        """Let the row lie as all of them."""
        relations.join(operation.gradient, operation.result.name)

    def lower(self, operation: graph.RowAtGradient, builder: Builder) -> None:
        """Append the row."""
        source, index = builder.blocks[operation.gradient], builder.blocks[operation.index]
        builder.append(PlaceRowAt(builder.allocate(operation.result), source, index))


LOWERINGS: Lowerings = {
    graph.EmbeddingGradient: EmbeddingGradientLowering(),
    graph.PositionEmbeddingGradient: PositionEmbeddingGradientLowering(),
    graph.RotaryGradient: RotaryGradientLowering(),
    graph.FirstRowGradient: OneRowGradientLowering(is_last=False),
    graph.LastRowGradient: OneRowGradientLowering(is_last=True),
    graph.RowAtGradient: RowAtGradientLowering(),
}
