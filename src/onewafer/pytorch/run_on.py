"""Everything that sends the PyTorch calls of a block to a wafer."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from onewafer.pytorch.backend import serve_backend
from onewafer.pytorch.compiled import compile_for_wafer
from onewafer.pytorch.fused_paths import without_fused_paths
from onewafer.pytorch.intercept import intercept_calls
from onewafer.pytorch.warned import warning_of_callers

if TYPE_CHECKING:
    from collections.abc import Generator

    from onewafer.pytorch.session import Session


@contextmanager
def run_on(session: Session) -> Generator[None]:
    """Run module calls, and what `torch.compile` makes, in a session while the block is open."""
    with (
        warning_of_callers(),
        intercept_calls(session),
        serve_backend(session),
        compile_for_wafer(),
        without_fused_paths(),
    ):
        yield
