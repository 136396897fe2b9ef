"""Lower dropout with factors drawn on the PEs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer import graph
from onewafer.errors import UnsupportedOperationError
from onewafer.graph import MOST_FEATURES, DataType
from onewafer.mesh.blocks import PLAIN_ORDER
from onewafer.mesh.distances import Bounded
from onewafer.mesh.dropout.operations import Dropout
from onewafer.mesh.elementwise.unary import InPlaceLowering

if TYPE_CHECKING:
    from onewafer.graph import Draw
    from onewafer.mesh.distances import Distances
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.lowering.lowering import Lowerings


class DropoutLowering(InPlaceLowering[graph.Dropout]):
    """Draw factors and multiply by them, in the input's block if the input is dead."""

    bounded_types = (DataType.F32,)

    def lower(self, operation: graph.Dropout, builder: Builder) -> None:
        if builder.dtype is not DataType.F32:
            raise UnsupportedOperationError(
                f"a dropout that is drawn on the wafer is not supported in {builder.dtype}; use f32"
            )
        layout = builder.layouts[operation.result.name]
        if layout.order != PLAIN_ORDER:
            raise UnsupportedOperationError(
                "a dropout of features that lie as heads of attention need them is not drawn on "
                "the wafer; let the host draw it (`--dropout host`)"
            )
        check_features(operation.draw)
        source = builder.blocks[operation.input]
        builder.draw()
        result = builder.allocate_in_place(operation)
        builder.append(Dropout(result, source, layout.axis, operation.draw))

    def bound(self, operation: graph.Dropout, distances: Distances) -> Bounded:
        source, exact = distances.of(operation.input), distances.exact[operation.result.name]
        largest = max(1.0, operation.draw.factor)  # the factor is 1 in an evaluation
        return distances.rounded(Bounded(exact, source.error * largest))


def check_features(draw: Draw) -> None:
    """Raise UnsupportedOperationError if a row has more features than independent draws."""
    if draw.features > MOST_FEATURES:
        raise UnsupportedOperationError(
            f"a dropout of more than {MOST_FEATURES:,} features is not drawn on the wafer; let "
            "the host draw it (`--dropout host`)"
        )


LOWERINGS: Lowerings = {graph.Dropout: DropoutLowering()}
