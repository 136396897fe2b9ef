"""Operands of `@map` that the machine's own loop cannot iterate over: all but mem1d.

The loop counts the rounds, and steps through mem1d operands. Any other operand needs statements in
each round: an operation on one wavelet, or a load or store at an address that follows the nested
loops of the mem4d_dsd.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from onewafer.csl import ir
from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.rules.loop_steps import steps_of
from onewafer.csl.sema.values import Dsd, Scalar, conversions
from onewafer.csl.sema.values.in_memory import address_of_variable
from onewafer.image import DsdDescriptor, DsdKind, DsdOperation, Opcode, ScalarType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.csl.sema.instance.analyzer import Analyzer
    from onewafer.csl.sema.values import Value
    from onewafer.diagnostics import Span

_MOVES: Final = {
    ScalarType.F16: DsdOperation.FMOVH,
    ScalarType.F32: DsdOperation.FMOVS,
    ScalarType.I16: DsdOperation.MOV16,
    ScalarType.U16: DsdOperation.MOV16,
    ScalarType.I32: DsdOperation.MOV32,
    ScalarType.U32: DsdOperation.MOV32,
}


@dataclass(frozen=True, slots=True)
class Element:
    """One element of an operand, or the function's result, in a round."""

    local: ir.Local
    type: t.Type
    scalar: ScalarType
    is_output: bool


@dataclass(frozen=True, slots=True)
class Walk:
    """The statements by which rounds read or write the elements of an operand."""

    rounds: int
    """Number of elements."""
    is_output: bool
    move: tuple[ir.Statement, ...]
    """Reads the element before the function's body, or writes it after the body."""
    step: tuple[ir.Statement, ...] = ()
    """Moves on to the next element, at the end of a round."""


def walk(a: Analyzer, value: Value, element: Element, span: Span) -> Walk | None:
    """Emit the start of the iteration over an operand and return it; None: the loop does it."""
    if not isinstance(value, Dsd) or element.scalar not in _MOVES:
        return None
    match value.type, element.is_output:
        case (t.FABIN_DSD, False) | (t.FABOUT_DSD, True):
            return _fabric(a, value, element, span)
        case t.MEM4D_DSD | t.CIRCBUF_DSD, _:
            return _nested(a, value, element, span)
        case _:
            return None


def rounds_only(a: Analyzer, rounds: int, span: Span) -> ir.MapStream:
    """Return a mem1d input of `rounds` unused elements, which counts the rounds."""
    variable = a.new_variable("rounds", t.U16, span, is_const=False)
    base = address_of_variable(variable)
    dsd = Dsd(
        t.MEM1D_DSD, DsdDescriptor(DsdKind.MEM1D), base, Scalar(t.U16, rounds), Scalar(t.I16, 0),
        span,
    )  # fmt: skip
    local = a.new_local("round", t.U16, is_const=True).local
    return ir.MapStream(a.expression(dsd, span), local, ScalarType.U16)


def _fabric(a: Analyzer, value: Dsd, element: Element, span: Span) -> Walk:
    if value.descriptor.packs and element.scalar.num_bytes == ScalarType.U16.num_bytes:
        fail(
            "unsupported-feature",
            "`@map` over wavelets of two values (`.simd_mode`) is not supported",
            span,
            help="let a DSD operation move the values from or to memory, and `@map` go over that",
        )
    rounds = conversions.forced_integer(value.extent, span, "extent")
    one = ir.Vector(a.expression(replace(value, extent=Scalar(t.U16, 1)), span))
    operation = _MOVES[element.scalar]
    if element.is_output:
        result = ir.Scalar(ir.ReadLocal(element.local))
        send = ir.DsdStatement(operation, one, None, result, None, None, span)
        return Walk(rounds, element.is_output, (send,))
    variable = a.new_variable(element.local.name, element.type, span, is_const=False)
    address = ir.AddressOf(a.instance.storage(variable))
    receive = ir.DsdStatement(operation, ir.ScalarDestination(address), None, one, None, None, span)
    read = ir.SetLocal(element.local, ir.Load(element.scalar, address), span)
    return Walk(rounds, element.is_output, (receive, read))


def _nested(a: Analyzer, value: Dsd, element: Element, span: Span) -> Walk:
    assert value.base is not None
    extents = value.descriptor.extents
    address = a.new_local("address", t.U16, is_const=False).local
    a.emit(ir.SetLocal(address, a.expression(value.base, span), span))
    counters = [a.new_local("count", t.U16, is_const=False).local for _ in extents[1:]]
    for counter in counters:
        a.emit(ir.SetLocal(counter, _number(0), span))
    size = t.num_bytes(element.type)
    steps = [size * step for step in steps_of(extents, value.descriptor.strides)]
    at = ir.ReadLocal(address)
    if element.is_output:
        move = ir.Store(element.scalar, at, 0, ir.ReadLocal(element.local), span)
    else:
        move = ir.SetLocal(element.local, ir.Load(element.scalar, at), span)
    rounds = conversions.forced_integer(value.extent, span, "extent")
    sizes = tuple(reversed(extents[1:]))
    return Walk(rounds, element.is_output, (move,), _go_on(address, counters, sizes, steps, span))


def _go_on(
    address: ir.Local,
    counters: Sequence[ir.Local],
    extents: Sequence[int],
    steps: Sequence[int],
    span: Span,
) -> tuple[ir.Statement, ...]:
    """Return the move to the next element; counters, extents and steps go from inner to outer."""
    moved = ir.SetLocal(address, _plus(address, steps[0]), span)
    if not counters:
        return (moved,)
    counter = counters[0]
    is_inside = ir.Binary(Opcode.LESS, ScalarType.U16, ir.ReadLocal(counter), _number(extents[0]))
    anew = ir.SetLocal(counter, _number(0), span)
    outside = _go_on(address, counters[1:], extents[1:], steps[1:], span)
    return (
        ir.SetLocal(counter, _plus(counter, 1), span),
        ir.If(is_inside, (moved,), (anew, *outside), span),
    )


def _plus(local: ir.Local, number: int) -> ir.Expression:
    return ir.Binary(Opcode.ADD, ScalarType.U16, ir.ReadLocal(local), _number(number))


def _number(number: int) -> ir.Immediate:
    return ir.Immediate(ScalarType.U16, number & 0xFFFF)
