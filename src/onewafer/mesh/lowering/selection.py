"""The largest elements of rows: a round of steps and of two maxima along the axis for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.errors import UnsupportedOperationError
from onewafer.graph import TopIndices
from onewafer.mesh.lowering.lowering import Lowering
from onewafer.mesh.operations import Claim, Copy, FindLargest, TakeIndex
from onewafer.mesh.operations.selection import Rows
from onewafer.mesh.program import PLAIN_ORDER

if TYPE_CHECKING:
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
        _check_features(operation, features, is_plain=layout.order == PLAIN_ORDER)
        rest = source
        if operation.count > 1:
            rest = builder.spare(source.rows, source.columns)
            builder.append(Copy(rest, source))
        words, own, places = (builder.scratch(source.rows, 1) for _ in range(3))
        indices = builder.place_indices(operation.result)
        rows = Rows(source, rest, indices, layout.axis, features)
        for number in range(operation.count):
            builder.append(FindLargest(words, own, places, rows, number))
            builder.all_reduce_max(words, layout.axis)
            builder.append(Claim(words, own, places, rows))
            builder.all_reduce_max(words, layout.axis)
            builder.append(TakeIndex(words, rows, number))


def _check_features(operation: TopIndices, features: int, *, is_plain: bool) -> None:
    where = f"TopIndices that defines {operation.result.name!r}"
    if features > _MOST_FEATURES:
        raise UnsupportedOperationError(
            f"{where}: its rows have {features:,} features, and indices are exact up to "
            f"{_MOST_FEATURES:,}; leave it to the host"
        )
    if not is_plain:
        raise UnsupportedOperationError(
            f"{where}: the features of {operation.input!r} lie in the order that operations on "
            "heads ask for; leave it to the host"
        )
