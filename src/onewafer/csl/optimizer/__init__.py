"""Typed IR → typed IR that takes fewer cycles or bytes, pass by pass.

    inline    calls → bodies                                  `short_functions`, `inline`
    unroll    loops of a few rounds → their rounds            `unroll`
    forward   loads → what was just stored or loaded          `forward`

Only the expansion of `inline fn` is part of the language; `-O0` turns the rest off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onewafer.csl.optimizer.forward import forward
from onewafer.csl.optimizer.inline import expand_inline
from onewafer.csl.optimizer.short_functions import mark_inlined
from onewafer.csl.optimizer.unroll import unroll

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.csl import ir

    Pass = Callable[[ir.InstanceIr], ir.InstanceIr]

__all__ = ["PASSES", "REQUIRED_PASSES"]


def _inline(instance: ir.InstanceIr) -> ir.InstanceIr:
    mark_inlined(instance)
    return expand_inline(instance)


PASSES: Final[dict[str, Pass]] = {"inline": _inline, "unroll": unroll, "forward": forward}
"""The passes by name, in the order in which they run."""
REQUIRED_PASSES: Final[dict[str, Pass]] = {"inline": expand_inline}
"""What stands in the place of passes with `-O0`."""
