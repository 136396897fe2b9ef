"""The lowering of each graph operation."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from onewafer.errors import UnsupportedOperationError
from onewafer.mesh.attention import lowering as attention
from onewafer.mesh.dense import lowering as dense
from onewafer.mesh.elementwise import pairs, unary, vectors
from onewafer.mesh.feature_maps import lowering as feature_maps
from onewafer.mesh.norms import lowering as norms
from onewafer.mesh.norms import softmax_lowering as softmax
from onewafer.mesh.products import lowering as products
from onewafer.mesh.selection import features
from onewafer.mesh.selection import lowering as selection
from onewafer.mesh.tokens import lowering as tokens

if TYPE_CHECKING:
    from collections.abc import Generator

    from onewafer.graph import Operation
    from onewafer.mesh.lowering.lowering import Lowering, Lowerings

LOWERINGS: Lowerings = {
    **attention.LOWERINGS,
    **dense.LOWERINGS,
    **features.LOWERINGS,
    **feature_maps.LOWERINGS,
    **norms.LOWERINGS,
    **pairs.LOWERINGS,
    **products.LOWERINGS,
    **selection.LOWERINGS,
    **softmax.LOWERINGS,
    **tokens.LOWERINGS,
    **unary.LOWERINGS,
    **vectors.LOWERINGS,
}


def lowering_of(operation: Operation) -> Lowering[Any]:
    """Return the lowering of an operation; raise UnsupportedOperationError if there is none."""
    lowering = LOWERINGS.get(type(operation))
    if lowering is None:
        raise UnsupportedOperationError(f"{type(operation).__name__} is not supported on the wafer")
    return lowering


@contextmanager
def blamed_on(operation: Operation) -> Generator[None]:
    """Let a refusal inside name the result of an operation, which has a line in the user's code."""
    try:
        yield
    except UnsupportedOperationError as error:
        error.result = error.result or operation.result.name
        raise
