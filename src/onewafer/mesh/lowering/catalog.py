"""Find the lowering of a graph operation, and blame refusals on the operation."""

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
    """Let a refusal inside name the result of an operation, which has a line in the user's code."""
    try:
        yield
    except UnsupportedOperationError as error:
        error.result = error.result or operation.result.name
        raise
