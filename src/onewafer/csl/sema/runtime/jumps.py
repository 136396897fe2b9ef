"""Where statements lead: whether their end is reached, and which jumps leave them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl import ir

if TYPE_CHECKING:
    from collections.abc import Sequence


def ends_elsewhere(statements: Sequence[ir.Statement]) -> bool:
    """Tell whether the end of these statements is never reached."""
    for statement in statements:
        match statement:
            case ir.Return() | ir.Break() | ir.Continue():
                return True
            case ir.If(_, then, otherwise) if ends_elsewhere(then) and ends_elsewhere(otherwise):
                return True
            case ir.Loop(ir.Immediate(_, 1), body) if not _breaks(body, 0):
                return True
            case ir.Labelled(body) if ends_elsewhere(body) and not _breaks(body, 0):
                return True
            case _:
                pass
    return False


def _breaks(statements: Sequence[ir.Statement], levels: int) -> bool:
    """Tell whether a `break` leaves the loop or block that is `levels` around these statements."""
    for statement in statements:
        match statement:
            case ir.Break(target) if target == levels:
                return True
            case ir.If(_, then, otherwise) if _breaks(then, levels) or _breaks(otherwise, levels):
                return True
            case ir.Loop(_, body) | ir.Labelled(body) if _breaks(body, levels + 1):
                return True
            case _:
                pass
    return False


def jumps_out(statements: Sequence[ir.Statement], levels: int) -> bool:
    """Tell whether a jump goes beyond the block that is `levels` around these statements."""
    for statement in statements:
        match statement:
            case ir.Break(target) | ir.Continue(target) if target > levels:
                return True
            case ir.If(_, then, otherwise) if any(jumps_out(s, levels) for s in (then, otherwise)):
                return True
            case ir.Loop(_, body) | ir.Labelled(body) | ir.Map(body=body) if jumps_out(
                body, levels + 1
            ):
                return True
            case _:
                pass
    return False
