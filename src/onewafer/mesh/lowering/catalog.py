"""Find the lowering of a graph operation, and name the operation in refusals."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from onewafer.errors import UnsupportedOperationError
from onewafer.mesh.families import LOWERINGS

if TYPE_CHECKING:
    from collections.abc import Generator

    from onewafer.graph import Operation
    from onewafer.mesh.lowering.lowering import Lowering


def lowering_of(operation: Operation) -> Lowering[Any]:
    """Return the lowering of an operation; raise UnsupportedOperationError if there is none."""
    lowering = LOWERINGS.get(type(operation))
    if lowering is None:
        raise UnsupportedOperationError(f"{type(operation).__name__} is not supported on the wafer")
    return lowering


@contextmanager
def blamed_on(operation: Operation) -> Generator[None]:
    """Add the operation's result, whose line is in the user's code, to refusals raised inside."""
    try:
        yield
    except UnsupportedOperationError as error:
        error.result = error.result or operation.result.name
        raise
