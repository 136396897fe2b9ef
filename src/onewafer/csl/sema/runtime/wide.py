"""Operations on integers of more than 32 bits: inline code or calls.

Sums, bitwise operators, comparisons, shifts by known counts and conversions between integers are IR
on pairs of words. All others are calls of functions of the library module `<language/wide>`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from onewafer.csl import ir
from onewafer.csl.sema import types as t
from onewafer.csl.sema.instance.constants import constant, known
from onewafer.csl.sema.runtime import calls
from onewafer.csl.sema.values import Runtime, Scalar, Value, map_scalar, type_of
from onewafer.image import Opcode, ScalarType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.csl.sema.instance.analyzer import Analyzer
    from onewafer.diagnostics import Span

_LARGEST_COUNT: Final = 0xFFFF
_CALLED: Final = {
    Opcode.DIV: ("divide", "divide_signed"),
    Opcode.REM: ("remainder", "remainder_signed"),
    Opcode.SHL: ("shift_left", "shift_left"),
    Opcode.SHR: ("shift_right", "shift_right_signed"),
}
"""Operation → the functions for unsigned and for signed numbers."""
_SIGNED: Final = frozenset(("divide_signed", "remainder_signed", "shift_right_signed"))


def binary(a: Analyzer, operation: ir.Binary, span: Span) -> ir.Expression:
    """Return an operation on wide integers, with a call in place of those that IR lacks.

    The count of a shift has at most 32 bits.
    """
    match operation:
        case ir.Binary(opcode=Opcode.SHL | Opcode.SHR, right=ir.Immediate(per_pe=None)):
            return operation
        case ir.Binary(opcode=Opcode.MUL):
            return _product(a, operation, span)
        case ir.Binary(opcode=opcode) if opcode in _CALLED:
            return _power_of_two(operation) or _called(a, operation, span)
        case _:
            return operation


def shift_count(a: Analyzer, value: Value, span: Span) -> ir.Expression:
    """Return the count of a wide shift as IR of at most 32 bits."""
    type_ = type_of(value)
    if type_ is t.COMPTIME_INT:
        return a.sized(value, t.U16, span)
    if isinstance(value, Scalar):
        return a.expression(map_scalar(value, t.U16, _counted), span)
    if not t.is_wide(type_):
        return a.sized(value, type_, span)
    return call(a, "count_of", (Runtime(t.U64, a.expression(value, span)),), span)


def _counted(count: float) -> int:
    """Return a known shift count; a negative or large one becomes `_LARGEST_COUNT`."""
    return int(count) if 0 <= count < _LARGEST_COUNT else _LARGEST_COUNT


def converted(
    a: Analyzer, held: ir.NumberType, target: ir.NumberType, value: ir.Expression, span: Span
) -> ir.Expression:
    """Return `@as` of a number from the register type `held` to `target`."""
    if held is target:
        return value
    match held, target:
        case ScalarType.F32, ir.WideType():
            return call(a, "from_single", (Runtime(t.F32, value),), span)
        case ScalarType.BF16, ir.WideType():
            single = ir.Convert(held, ScalarType.F32, value)
            return converted(a, ScalarType.F32, target, single, span)
        case ScalarType.F16 | ScalarType.CB16, ir.WideType():
            whole = ir.Convert(held, ScalarType.I32, value)
            return ir.Convert(ScalarType.I32, target, whole)
        case ir.WideType(), ScalarType() if target.is_float:
            name = "to_half" if target.is_half else "to_single"
            source = t.I64 if held.is_signed else t.U64
            name += "_signed" if held.is_signed else ""
            return call(a, name, (Runtime(source, value),), span)
        case _:
            return ir.Convert(held, target, value)


def call(a: Analyzer, name: str, arguments: Sequence[Runtime], span: Span) -> ir.Expression:
    """Return a call of a function of `<language/wide>`."""
    function = a.module.context.library_function(a.module, "<language/wide>", name, span)
    spans = [span] * len(arguments)
    target, passed, _ = calls.specialize(a, function, arguments, spans, span)
    return ir.Call(target, passed)


def _called(a: Analyzer, operation: ir.Binary, span: Span) -> ir.Expression:
    opcode = operation.opcode
    name = _CALLED[opcode][operation.type.is_signed]
    number = t.I64 if name in _SIGNED else t.U64
    second = t.U32 if opcode in (Opcode.SHL, Opcode.SHR) else number
    return call(a, name, (Runtime(number, operation.left), Runtime(second, operation.right)), span)


def _product(a: Analyzer, product: ir.Binary, span: Span) -> ir.Expression:
    number = known(product.right)
    if number is not None and number.bit_count() == 1:
        return replace(product, opcode=Opcode.SHL, right=_exponent(number))
    words = [_word(product.left), _word(product.right)]
    arguments = [Runtime(t.U32, word) for word in words if word is not None]
    if len(arguments) == len(words):
        return call(a, "multiply_words", arguments, span)
    return call(a, "multiply", (Runtime(t.U64, product.left), Runtime(t.U64, product.right)), span)


def _power_of_two(operation: ir.Binary) -> ir.Expression | None:
    """Return an unsigned division by a known power of two as a shift or mask; else None."""
    number, held = known(operation.right), operation.type
    if number is None or number.bit_count() != 1 or held.is_signed:
        return None
    if operation.opcode is Opcode.DIV:
        return replace(operation, opcode=Opcode.SHR, right=_exponent(number))
    return replace(operation, opcode=Opcode.AND, right=constant(held, number - 1))


def _exponent(power: int) -> ir.Immediate:
    """Return the logarithm of a power of two as a shift count."""
    return ir.Immediate(ScalarType.U16, power.bit_length() - 1)


def _word(expression: ir.Expression) -> ir.Expression | None:
    """Return the unsigned word that was extended to a wide integer; None: there is none."""
    match expression:
        case ir.Convert(source=ScalarType() as source, operand=operand):
            return None if source.is_signed else operand
        case ir.Join(low=low, high=ir.Immediate(per_pe=None, word=0)):
            return low
        case _:
            return None
