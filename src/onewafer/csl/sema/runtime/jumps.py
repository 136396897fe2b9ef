"""Control flow of emitted statements: reachable ends, and jumps that leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl import ir
from onewafer.csl.ir import walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def ends_elsewhere(statements: Sequence[ir.Statement]) -> bool:
    """Tell whether control never reaches the end of these statements."""
    for statement in statements:
        match statement:
            case ir.Return() | ir.Break() | ir.Continue():
                return True
            case ir.If(_, then, otherwise) if ends_elsewhere(then) and ends_elsewhere(otherwise):
                return True
            case ir.Loop(ir.Immediate(_, 1), body) if not _is_left(body):
                return True
            case ir.Labelled(body) if ends_elsewhere(body) and not _is_left(body):
                return True
            case _:
                pass
    return False


def _is_left(body: Iterable[ir.Statement]) -> bool:
    """Tell whether a `break` leaves exactly the loop or block of this body."""
    return any(isinstance(jump, ir.Break) and not away for jump, away in walk.jumps(body))


def jumps_out(body: Iterable[ir.Statement]) -> bool:
    """Tell whether a jump goes beyond the loop or block of this body."""
    return any(away > 0 for _, away in walk.jumps(body))
