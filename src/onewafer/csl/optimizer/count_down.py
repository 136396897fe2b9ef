"""Loops whose counter is read only by their test → loops that count down to 0.

In and out: the body of a function. The counter is unsigned and goes from 0, by 1, up to a number
that the loop does not change.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onewafer.csl import ir
from onewafer.csl.ir import rewrite, walk
from onewafer.image import Opcode

if TYPE_CHECKING:
    from onewafer.csl.ir.walk import Block


def count_down(contents: walk.Contents) -> walk.Contents:
    """Rewrite the loops of a body that may count down to 0."""
    if not any(map(_may_count_down, contents.statements)):
        return contents
    sets = Counter(local for inside in contents.statements for local in walk.locals_set(inside))
    block = _CountDown(contents, sets).block(contents.block)
    return contents if block is contents.block else walk.Contents.of(block)


def _may_count_down(statement: ir.Statement) -> bool:
    """Tell whether a loop is a candidate, by its test and its step."""
    match statement:
        case ir.Loop(condition=ir.Binary(opcode=Opcode.LESS, type=type_), step=(ir.SetLocal(),)):
            return not (type_.is_float or type_.is_signed)
        case _:
            return False


@dataclass(frozen=True, slots=True)
class _CountDown:
    contents: walk.Contents
    sets: Counter[ir.Local]

    def block(self, block: Block) -> Block:
        """Return the block with rewritten loops, or the block itself if no loop changes."""
        found: list[ir.Statement] = []
        for statement in block:
            changed = rewrite.with_blocks(statement, self.block)
            if found and isinstance(changed, ir.Loop):
                found[-1], changed = self._rewritten(found[-1], changed)
            found.append(changed)
        return block if found == [*block] else tuple(found)

    def _rewritten(self, before: ir.Statement, loop: ir.Loop) -> tuple[ir.Statement, ir.Statement]:
        """Return the initial value and the loop, rewritten to count down if possible."""
        match before, loop.condition, loop.step:
            case (
                ir.SetLocal(local=counter, value=ir.Immediate(per_pe=None, word=0) as zero),
                ir.Binary(Opcode.LESS, type_, ir.ReadLocal(tested), stop),
                (
                    ir.SetLocal(
                        advanced,
                        ir.Binary(
                            Opcode.ADD,
                            left=ir.ReadLocal(from_),
                            right=ir.Immediate(per_pe=None, word=1),
                        ) as sum_,
                    ) as step,
                ),
            ) if (
                counter is tested is advanced is from_
                and self.contents.num_reads(counter) == self.sets[counter] == 2  # noqa: PLR2004 - those here
                and not (type_.is_float or type_.is_signed)
                and _stays(stop, loop)
            ):
                condition = replace(loop.condition, opcode=Opcode.NOT_EQUAL, right=zero)
                less = replace(step, value=replace(sum_, opcode=Opcode.SUB))
                return (
                    replace(before, value=stop),
                    replace(loop, condition=condition, step=(less,)),
                )
            case _:
                return before, loop


def _stays(stop: ir.Expression, loop: ir.Loop) -> bool:
    """Tell whether a value is invariant in a loop."""
    match stop:
        case ir.Immediate():
            return True
        case ir.ReadLocal(local=local):
            return all(local not in walk.locals_set(inside) for inside in walk.statements((loop,)))
        case _:
            return False
