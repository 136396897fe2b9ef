"""Lowering of the search for the largest elements: for each, local steps and two maxima."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.errors import UnsupportedOperationError
from onewafer.graph import TopIndices
from onewafer.mesh import selection as mesh
from onewafer.mesh.elementwise import Copy
from onewafer.mesh.lowering.lowering import Lowering, Lowerings
from onewafer.mesh.selection.features import check_order
from onewafer.mesh.selection.operations import Rows

if TYPE_CHECKING:
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.relations import Relations

_MOST_FEATURES = 1 << 24
"""Indices travel as f32, which is exact up to this number."""


class TopIndicesLowering(Lowering[TopIndices]):
    """Find one element after another; every PE gets the indices."""

    def relate(self, operation: TopIndices, relations: Relations) -> None:
        """Relate nothing."""

    def lower(self, operation: TopIndices, builder: Builder) -> None:
        source, layout = builder.blocks[operation.input], builder.layouts[operation.input]
        features = builder.tensor(operation.input).shape[-1]
        check_order(layout)
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


LOWERINGS: Lowerings = {TopIndices: TopIndicesLowering()}
