"""Loops over ranges: how a counter goes from start to stop, and ends there.

A counter wraps as every number of its type does, so one that would step past the end of the type
needs another test than whether it is beyond `stop`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.csl import ir
from onewafer.csl.sema import rules
from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.instance import narrow
from onewafer.csl.sema.instance.constants import constant, known
from onewafer.csl.sema.runtime import order
from onewafer.csl.sema.runtime.temporaries import once
from onewafer.csl.sema.values import Range, Scalar, conversions, force
from onewafer.image import Opcode

if TYPE_CHECKING:
    from onewafer.csl.sema.instance.analyzer import Analyzer
    from onewafer.csl.sema.instance.bound_names import RuntimeLocal
    from onewafer.diagnostics import Span


@dataclass(frozen=True, slots=True)
class CountedLoop:
    """The parts of a loop over a range, except its body."""

    counter: RuntimeLocal
    test: ir.Expression
    """True if there is another round."""
    steps: tuple[ir.Statement, ...]
    """After each round."""


def count(a: Analyzer, name: str, loop: Range, span: Span) -> CountedLoop:
    """Start a counter `name` and return how it goes on."""
    type_ = t.I16 if loop.type is t.COMPTIME_INT else loop.type
    if not isinstance(loop.step, Scalar):
        fail("not-comptime", "the step of a range has to be known at compile time", span)
    step = int(force(loop.step, "step of a range", span))
    if step == 0:
        rules.endless_range(span)
    counter = a.new_local(name, type_, is_const=True)
    read = ir.ReadLocal(counter.local)
    start, stop = a.sized(loop.start, type_, span), a.sized(loop.stop, type_, span)
    start = order.ahead(a, start, stop, type_, span)
    if not isinstance(stop, ir.Immediate) and known(stop) is None:
        stop = once(a, "stop", stop, type_, span)
    a.emit(ir.SetLocal(counter.local, start, span))
    first, second = (read, stop) if step > 0 else (stop, read)
    steps: list[ir.Statement] = []
    wrapped = _wrapped_end(loop, type_, step)
    if wrapped is None:
        test = a.binary(Opcode.LESS, type_, first, second)
    elif isinstance(loop.start, Scalar) and wrapped.value == loop.start.value:
        test = _rounds_left(a, loop, step, steps, span)
    else:
        test = a.binary(Opcode.NOT_EQUAL, type_, read, a.sized(wrapped, type_, span))
    opcode = Opcode.ADD if step > 0 else Opcode.SUB
    amount = _amount(a, type_, step, span)
    following = narrow.wrapped(type_, a.binary(opcode, type_, read, amount))
    if wrapped is None and _may_wrap(loop, type_, step, span):
        following = _not_beyond(a, type_, (first, second, stop), amount, following)
    steps.append(ir.SetLocal(counter.local, following, span))
    return CountedLoop(counter, test, tuple(steps))


def _amount(a: Analyzer, type_: t.Type, step: int, span: Span) -> ir.Expression:
    """Return what a round adds or takes away; -128 of an `i8` takes away the bits of 128."""
    if isinstance(type_, t.IntegerType) and step == type_.minimum:
        return a.sized(Scalar(type_, type_.wrap(-step)), type_, span)
    return a.sized(Scalar(t.COMPTIME_INT, abs(step)), type_, span)


def _may_wrap(loop: Range, type_: t.Type, step: int, span: Span) -> bool:
    """Tell whether a counter may step past the end of its type, from before a stop near to it."""
    assert isinstance(type_, t.IntegerType)
    if abs(step) == 1 or _known_end(loop, step) is not None:
        return False
    most = step - (1 if step > 0 else -1)  # how far it may step past `stop`
    if not isinstance(loop.stop, Scalar):
        return True
    return conversions.decide(
        loop.stop,
        lambda stop: not type_.minimum <= stop + most <= type_.maximum,
        f"its value plus {most} must fit in {type_}",
        span,
    )


def _not_beyond(
    a: Analyzer,
    type_: t.Type,
    bounds: tuple[ir.Expression, ir.Expression, ir.Expression],
    amount: ir.Expression,
    following: ir.Expression,
) -> ir.Expression:
    """Return the next value of the counter; `stop` where it would step past it, or past its type.

    `bounds` are the lower and the upper one of counter and stop, and the stop.
    """
    lower, upper, stop = bounds
    assert isinstance(type_, t.IntegerType)
    distance_type = t.IntegerType(type_.bits, is_signed=False)
    distance = narrow.wrapped(distance_type, a.binary(Opcode.SUB, distance_type, upper, lower))
    has_more = a.binary(Opcode.LESS, distance_type, _unsigned(amount, distance_type), distance)
    held = t.register_type(type_)
    assert held is not None
    return ir.Select(held, has_more, following, stop)


def _unsigned(amount: ir.Expression, type_: t.IntegerType) -> ir.Expression:
    """Return the bits of an amount as a number that is compared with unsigned ones."""
    match amount:
        case ir.Immediate(per_pe=None, word=word):
            held = t.register_type(type_)
            assert held is not None
            return constant(held, type_.wrap(word))
        case _:  # two words, which are unsigned
            return amount


def _rounds_left(
    a: Analyzer, loop: Range, step: int, steps: list[ir.Statement], span: Span
) -> ir.Expression:
    """Return the test of a loop whose counter ends where it began: rounds are counted instead."""
    assert isinstance(loop.start, Scalar)
    assert isinstance(loop.stop, Scalar)
    count = _num_rounds(int(loop.start.value), int(loop.stop.value), step)
    type_ = t.U32 if count <= t.U32.maximum else t.U64
    rounds = a.new_local("rounds", type_, is_const=False).local
    read = ir.ReadLocal(rounds)
    all_, one, none = (a.expression(Scalar(type_, number), span) for number in (count, 1, 0))
    a.emit(ir.SetLocal(rounds, all_, span))
    steps.append(ir.SetLocal(rounds, a.binary(Opcode.SUB, type_, read, one), span))
    return a.binary(Opcode.NOT_EQUAL, type_, read, none)


def _num_rounds(start: int, stop: int, step: int) -> int:
    """Return `len(range(start, stop, step))`, which Python does not tell of long ranges."""
    return max(-((start - stop) // step), 0)


def _wrapped_end(loop: Range, type_: t.Type, step: int) -> Scalar | None:
    """Return the value of the counter after its last round, if it has wrapped around by then."""
    end = _known_end(loop, step)
    if end is None or not isinstance(type_, t.IntegerType):
        return None
    is_wrapped = not type_.minimum <= end <= type_.maximum
    return Scalar(type_, type_.wrap(end)) if is_wrapped else None


def _known_end(loop: Range, step: int) -> int | None:
    """Return the value of the counter after its last round, if it never wrapped."""
    match loop:
        case Range(_, Scalar(value=start, taint=None), Scalar(value=stop, taint=None)):
            return int(start) + _num_rounds(int(start), int(stop), step) * step
        case _:
            return None
