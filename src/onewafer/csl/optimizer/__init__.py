"""Passes from typed IR to typed IR: `inline` puts bodies in the place of calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onewafer.csl.optimizer.inline import expand_inline

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.csl import ir

    Pass = Callable[[ir.InstanceIr], ir.InstanceIr]

__all__ = ["PASSES"]

PASSES: Final[dict[str, Pass]] = {"inline": expand_inline}
"""The passes by name, in the order in which they run."""
