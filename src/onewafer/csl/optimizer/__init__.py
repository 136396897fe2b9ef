"""Typed IR → typed IR that takes fewer cycles or bytes, pass by pass.

    values    unreachable code → nothing                      `values`
    inline    calls → bodies                                  `short_functions`, `inline`
    unroll    loops of a few rounds → their rounds            `unroll`
    forward   loads → values just stored or loaded            `forward`

`check_accesses` changes nothing: it warns of accesses outside of their arrays.

Only the expansion of `inline fn` is part of the language; `-O0` turns the rest off. With `-O1`
the code of a function does not depend on the other functions of a program.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from onewafer.csl.optimizer.accesses import check_accesses
from onewafer.csl.optimizer.forward import forward
from onewafer.csl.optimizer.inline import expand_inline
from onewafer.csl.optimizer.short_functions import mark_inlined
from onewafer.csl.optimizer.unroll import unroll
from onewafer.csl.optimizer.values import fold_values

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.csl import ir

    Pass = Callable[[ir.InstanceIr], ir.InstanceIr]

__all__ = ["FUNCTION_PASSES", "PASSES", "REQUIRED_PASSES", "SMALL_PASSES", "check_accesses"]


def _inline_once(instance: ir.InstanceIr) -> ir.InstanceIr:
    mark_inlined(instance, most_added=0)
    return expand_inline(instance, in_blocks=True)


def _inline(instance: ir.InstanceIr) -> ir.InstanceIr:
    mark_inlined(instance)
    return expand_inline(instance, in_blocks=True)


PASSES: Final[dict[str, Pass]] = {
    "values": fold_values,
    "inline": _inline,
    "unroll": unroll,
    "forward": forward,
}
"""The passes by name, in the order in which they run."""
SMALL_PASSES: Final[dict[str, Pass]] = {
    "values": fold_values,
    "inline": _inline_once,
    "forward": forward,
}
"""The passes that copy no code, for a program that does not fit with all passes."""
FUNCTION_PASSES: Final[dict[str, Pass]] = {
    "inline": partial(expand_inline, in_blocks=True),
    "unroll": unroll,
    "forward": forward,
}
"""The passes of `-O1`, which look at one function; `values` and inlining look at the program."""
REQUIRED_PASSES: Final[dict[str, Pass]] = {"inline": expand_inline}
"""The passes of `-O0`."""
