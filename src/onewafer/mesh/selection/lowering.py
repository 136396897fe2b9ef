"""The largest elements of rows: a round of steps and of two maxima along the axis for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.errors import UnsupportedOperationError
from onewafer.graph import Gather, TopIndices
from onewafer.mesh import selection as mesh
from onewafer.mesh.blocks import PLAIN_ORDER
from onewafer.mesh.elementwise import Copy
from onewafer.mesh.lowering.lowering import Lowering, Lowerings
from onewafer.mesh.selection.operations import Rows

if TYPE_CHECKING:
    from onewafer.mesh.blocks import Layout
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.relations import Relations

_MOST_FEATURES = 1 << 24
"""f32, in which indices travel, holds whole numbers up to here."""


class TopIndicesLowering(Lowering[TopIndices]):
    """Find element after element; every PE has the indices then, and rounds share their entries."""

    def relate(self, operation: TopIndices, relations: Relations) -> None:
        """Ask for nothing."""

    def lower(self, operation: TopIndices, builder: Builder) -> None:
        """Append the rounds."""
        source, layout = builder.blocks[operation.input], builder.layouts[operation.input]
        features = builder.tensor(operation.input).shape[-1]
        _check_order(layout)
        if features > _MOST_FEATURES:
            raise UnsupportedOperationError(
                f"a search among {features:,} features is not supported; indices are exact up to "
                f"{_MOST_FEATURES:,}"
            )
        rest = source
        if operation.count > 1:
            rest = builder.spare(source.rows, source.columns)
            builder.append(Copy(rest, source))
        words, own, places = (builder.scratch(source.rows, 1) for _ in range(3))
        indices = builder.place_indices(operation.result)
        rows = Rows(source, rest, indices, layout.axis, features)
        for number in range(operation.count):
            builder.append(mesh.FindLargest(words, own, places, rows, number))
            builder.all_reduce_max(words, layout.axis)
            builder.append(mesh.Claim(words, own, places, rows))
            builder.all_reduce_max(words, layout.axis)
            builder.append(mesh.TakeIndex(words, rows, number))


class GatherLowering(Lowering[Gather]):
    """Each PE takes the elements that it has; an all-reduce along the input's axis adds them up."""

    def relate(self, operation: Gather, relations: Relations) -> None:
        """Let the result lie along the other axis than the input."""
        relations.put_across(operation.input, operation.result.name)

    def lower(self, operation: Gather, builder: Builder) -> None:
        """Append the lookup and the all-reduce."""
        layout = builder.layouts[operation.input]
        _check_order(layout)
        source, indices = (builder.blocks[name] for name in self.operands(operation))
        features = builder.tensor(operation.input).shape[-1]
        result = builder.allocate(operation.result)
        sums = builder.sums_of(result)
        builder.append(mesh.Gather(sums, source, indices, layout.axis, features))
        builder.all_reduce(sums, layout.axis)
        builder.store(sums, result)


def _check_order(layout: Layout) -> None:
    """Refuse features that do not lie as they are numbered."""
    if layout.order != PLAIN_ORDER:
        raise UnsupportedOperationError(
            "a search among features in the order that operations on attention heads ask for is "
            "not supported"
        )


LOWERINGS: Lowerings = {TopIndices: TopIndicesLowering(), Gather: GatherLowering()}
