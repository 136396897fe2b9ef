"""Copies with which a backward pass begins the recomputation of a forward segment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer import graph
from onewafer.mesh.lowering.lowering import AlikeLowering, Lowerings
from onewafer.mesh.recomputation.operations import Keep, Recall

if TYPE_CHECKING:
    from onewafer.mesh.lowering.builder import Builder


class KeepLowering(AlikeLowering[graph.Keep]):
    """Copy what a PE has: no exchange at all."""

    def lower(self, operation: graph.Keep, builder: Builder) -> None:
        """Append the copying operation."""
        rows = builder.blocks[operation.input]
        kept = builder.place_state(rows.rows, rows.columns)
        builder.blocks[operation.result.name] = kept
        builder.append(Keep(kept, rows))


class RecallLowering(AlikeLowering[graph.Recall]):
    """Copy it back."""

    def lower(self, operation: graph.Recall, builder: Builder) -> None:
        """Append the copying operation."""
        kept = builder.blocks[operation.input]
        builder.append(Recall(builder.allocate(operation.result), kept))


LOWERINGS: Lowerings = {graph.Keep: KeepLowering(), graph.Recall: RecallLowering()}
