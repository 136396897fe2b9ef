"""Loop unrolling: loops of a few iterations → copies of their bodies.

In: an instance. Out: the same, where a loop that counts between constants is a `Labelled` with a
copy of the body for each round, in which the counter is a number. That pays: the end of a round is
an addition, a comparison and a jump. A loop is unrolled if it takes up to `MOST_ROUNDS` rounds and
up to `MOST_UNITS` all together. These loops stay:

* one that starts asynchronous operations, for each copy would take registers of its own;
* one with a `continue`;
* one that contains a loop that stays: its own branch costs little in comparison;
* one that advances a descriptor in each round. The vendor's compiler keeps it, too: in a log
  of its simulator, each of 14 rounds around one `@fmacs` ends with a comparison and a jump.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from onewafer.csl import ir
from onewafer.csl.ir import rewrite, walk
from onewafer.csl.optimizer.constants import compare, compute, fold
from onewafer.csl.optimizer.sizes import units_of_rounds
from onewafer.csl.optimizer.unused import drop_unused
from onewafer.image import Opcode, ScalarType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.csl.ir.walk import Block

MOST_ROUNDS: Final = 16
MOST_UNITS: Final = 256
"""The size of an unrolled loop; a unit is about 4 bytes of code."""


def unroll(instance: ir.InstanceIr) -> ir.InstanceIr:
    """Return the instance with short loops unrolled; bodies change in place."""
    for function in instance.functions:
        body = _block(function.body)
        if body is not function.body:
            function.body = drop_unused(body).block
    return instance


def _block(block: Block) -> Block:
    """Return a block with its loops unrolled, inner first, or the block itself."""
    found: list[ir.Statement] = []
    for statement in block:
        changed = rewrite.with_blocks(statement, _block)
        if found and isinstance(changed, ir.Loop):
            counting = _counting(found[-1], changed)
            if counting is not None and _pays(counting):
                found.append(_rounds(counting))
                continue
        found.append(changed)
    return block if found == [*block] else tuple(found)


@dataclass(frozen=True, slots=True)
class _Counting:
    """A loop that counts between constants."""

    loop: ir.Loop
    counter: ir.Local
    type: ScalarType
    words: tuple[int, ...]
    """Values of the counter: one for each round, and the final value after the loop."""


def _counting(before: ir.Statement, loop: ir.Loop) -> _Counting | None:
    """Return the counter of a loop between two constants with few rounds, or None."""
    match before, loop.condition, loop.step:
        case (
            ir.SetLocal(local=counter, value=ir.Immediate(per_pe=None, word=word)),
            ir.Binary(
                opcode=test,
                type=ScalarType() as type_,
                left=ir.ReadLocal(local=tested),
                right=ir.Immediate(per_pe=None, word=stop),
            ),
            (
                ir.SetLocal(
                    local=advanced,
                    value=ir.Binary(
                        opcode=Opcode.ADD | Opcode.SUB as advance,
                        type=step_type,
                        left=ir.ReadLocal(local=from_),
                        right=ir.Immediate(per_pe=None, word=by),
                    ),
                ),
            ),
        ) if counter is tested is advanced is from_ and not type_.is_float and type_ is step_type:
            words = [word]
            while compare(test, type_, words[-1], stop):
                words.append(compute(advance, type_, words[-1], by))
                if len(words) > MOST_ROUNDS + 1:
                    return None
            inside = walk.statements(loop.body)
            if any(counter in walk.locals_set(statement) for statement in inside):
                return None
            return _Counting(loop, counter, type_, tuple(words))
        case _:
            return None


def _pays(counting: _Counting) -> bool:
    """Tell whether the copies of the body may be added to the code."""
    body = counting.loop.body
    inside = [*walk.statements(body)]
    operations = [s for s in inside if isinstance(s, ir.DsdStatement)]
    has_asynchronous = any(operation.config is not None for operation in operations)
    has_loop = any(isinstance(statement, ir.Loop | ir.Map) for statement in inside)
    if has_asynchronous or has_loop or _is_continued(body) or _moves_descriptor(inside):
        return False
    return units_of_rounds(body, len(counting.words) - 1) <= MOST_UNITS


def _moves_descriptor(inside: Sequence[ir.Statement]) -> bool:
    """Tell whether an operation in a loop uses a descriptor that the loop sets."""
    set_inside = {local for statement in inside for local in walk.locals_set(statement)}
    return any(
        isinstance(node, ir.ReadLocal) and node.local in set_inside
        for statement in inside
        if isinstance(statement, ir.DsdStatement)
        for vector in walk.vectors(statement)
        for node in walk.expressions(vector.dsd)
    )


def _is_continued(body: Block) -> bool:
    """Tell whether a `Continue` in the body belongs to this loop."""
    return any(isinstance(jump, ir.Continue) and not away for jump, away in walk.jumps(body))


def _rounds(counting: _Counting) -> ir.Statement:
    """Return the unrolled loop."""
    counter, body, span = counting.counter, counting.loop.body, counting.loop.span
    is_left = any(isinstance(s, ir.Break) for s in walk.statements(body))
    rounds: list[ir.Statement] = []
    *words, last = (ir.Immediate(counting.type, word) for word in counting.words)
    for word in words:
        if is_left:
            rounds.append(ir.SetLocal(counter, word, span))
        rounds += _Round(counter, word).block(body)
    rounds.append(ir.SetLocal(counter, last, span))
    return ir.Labelled(tuple(rounds), span, is_unrolled=True)


@dataclass(frozen=True, slots=True)
class _Round:
    """Copies a body with a constant in place of the counter."""

    counter: ir.Local
    word: ir.Immediate

    def block(self, block: Block) -> Block:
        """Copy a block."""
        found: list[ir.Statement] = []
        for statement in block:
            copies: dict[ir.Expression, ir.Expression] = {}
            copied = rewrite.with_roots(statement, lambda e, c=copies: self._expression(e, c))
            match copied:
                case ir.If(condition=ir.Immediate(per_pe=None, word=word)):
                    found += self.block(copied.then if word else copied.otherwise)
                case _:
                    found.append(rewrite.with_blocks(copied, self.block))
        return tuple(found)

    def _expression(
        self, expression: ir.Expression, copies: dict[ir.Expression, ir.Expression]
    ) -> ir.Expression:
        """Copy an expression; a shared node is copied once."""
        if isinstance(expression, ir.ReadLocal):
            return self.word if expression.local is self.counter else expression
        if expression not in copies:
            changed = rewrite.with_operands(expression, lambda e: self._expression(e, copies))
            copies[expression] = fold(changed)
        return copies[expression]
