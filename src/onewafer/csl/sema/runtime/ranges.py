"""Loops over ranges: the start, the test and the step of the counter.

A counter wraps around as any number of its type, so one that would step past the end of the type
cannot be compared with `stop` alone.
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
    """The condition of another round."""
    steps: tuple[ir.Statement, ...]
    """The statements after each round."""


def count(a: Analyzer, name: str, loop: Range, span: Span) -> CountedLoop:
    """Emit the start of a counter and return the loop's test and steps."""
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
    """Return the absolute step in the counter's type, modulo its width: 128 for -128 in `i8`."""
    if isinstance(type_, t.IntegerType) and step == type_.minimum:
        return a.sized(Scalar(type_, type_.wrap(-step)), type_, span)
    return a.sized(Scalar(t.COMPTIME_INT, abs(step)), type_, span)


def _may_wrap(loop: Range, type_: t.Type, step: int, span: Span) -> bool:
    """Tell whether the last step before `stop` may take the counter past the end of its type."""
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
    """Return the next value of the counter, or `stop` if the step would reach or pass it.

    `bounds` are the counter and the stop in ascending order, then the stop again.
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
    """Return an amount as a number of the unsigned type `type_`."""
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
    """Emit a count of rounds for a loop whose counter ends where it began; return its test."""
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
    """Return `len(range(start, stop, step))`, which Python refuses for long ranges."""
    return max(-((start - stop) // step), 0)


def _wrapped_end(loop: Range, type_: t.Type, step: int) -> Scalar | None:
    """Return the counter after the last round if it has wrapped around; None: it has not."""
    end = _known_end(loop, step)
    if end is None or not isinstance(type_, t.IntegerType):
        return None
    is_wrapped = not type_.minimum <= end <= type_.maximum
    return Scalar(type_, type_.wrap(end)) if is_wrapped else None


def _known_end(loop: Range, step: int) -> int | None:
    """Return the counter after the last round without wrapping; None: it is not known."""
    match loop:
        case Range(_, Scalar(value=start, taint=None), Scalar(value=stop, taint=None)):
            return int(start) + _num_rounds(int(start), int(stop), step) * step
        case _:
            return None
