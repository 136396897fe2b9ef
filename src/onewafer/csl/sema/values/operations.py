"""Operators on comptime values; their typing rules hold at run time, too.

Sized integers wrap, `comptime_int` is unbounded, `f16`/`f32` round to nearest even after every
operation (computed in double, which is wide enough for one correct rounding), `comptime_float` is a
double. Tainted operands give tainted results.
"""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any, Final

from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.values import (
    FALSE,
    TRUE,
    Number,
    Runtime,
    Scalar,
    TypeValue,
    Value,
    Variable,
    boolean,
    conversions,
    map_scalar,
    merge_taints,
    not_comptime,
    type_of,
)
from onewafer.csl.sema.values.formats import quiet, round_float
from onewafer.csl.syntax.ast import BinaryOperator, UnaryOperator

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.diagnostics import Span

_B = BinaryOperator
COMPARISONS: Final = frozenset(
    (_B.EQUAL, _B.NOT_EQUAL, _B.LESS, _B.GREATER, _B.LESS_EQUAL, _B.GREATER_EQUAL)
)
EQUALITIES: Final = frozenset((_B.EQUAL, _B.NOT_EQUAL))
SHIFTS: Final = frozenset((_B.SHIFT_LEFT, _B.SHIFT_RIGHT))
BITWISE: Final = frozenset((_B.BIT_AND, _B.BIT_OR, _B.BIT_XOR))

_RING: Final = frozenset((_B.ADD, _B.SUBTRACT, _B.MULTIPLY))
"""Operators that cannot fail on integers."""
MAX_COMPTIME_SHIFT: Final = 4096
"""Limit of a shift count, which keeps a mistaken shift from filling memory."""
MAX_COMPTIME_BITS: Final = 8192
"""Limit of the bits of a `comptime_int`, which keeps a growing value from filling memory."""
_COMPTIME_LIMIT: Final = 1 << MAX_COMPTIME_BITS


def _divide_int(left: int, right: int) -> int:
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _remainder_int(left: int, right: int) -> int:
    return left - _divide_int(left, right) * right


def _divide_float(left: float, right: float) -> float:
    if right != 0.0:
        return left / right
    if left == 0.0 or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


_INT: Final[dict[BinaryOperator, Callable[[Any, Any], int]]] = {
    _B.ADD: operator.add,
    _B.SUBTRACT: operator.sub,
    _B.MULTIPLY: operator.mul,
    _B.DIVIDE: _divide_int,
    _B.REMAINDER: _remainder_int,
    _B.BIT_AND: lambda a, b: a & b,
    _B.BIT_OR: lambda a, b: a | b,
    _B.BIT_XOR: lambda a, b: a ^ b,
    _B.SHIFT_LEFT: lambda a, b: a << b,
    _B.SHIFT_RIGHT: lambda a, b: a >> b,
}
_FLOAT: Final[dict[BinaryOperator, Callable[[Any, Any], float]]] = {
    _B.ADD: operator.add,
    _B.SUBTRACT: operator.sub,
    _B.MULTIPLY: operator.mul,
    _B.DIVIDE: _divide_float,
}
_COMPARE: Final[dict[BinaryOperator, Callable[[Any, Any], bool]]] = {
    _B.EQUAL: operator.eq,
    _B.NOT_EQUAL: operator.ne,
    _B.LESS: operator.lt,
    _B.GREATER: operator.gt,
    _B.LESS_EQUAL: operator.le,
    _B.GREATER_EQUAL: operator.ge,
}


def operand_type(op: BinaryOperator, left: Value, right: Value, span: Span) -> t.Type:
    """Return the type in which `left op right` is computed, or fail; values may be run-time ones.

    A comptime-known number adapts to the type of the other operand (a `comptime_int` always, a
    sized one if its value fits, which `coerce` checks).
    """
    a, b = type_of(left), type_of(right)
    result = _common(left, right, a, b)
    if result is None or not _is_defined(op, result):
        message = f"`{op}` is not defined on `{a}` and `{b}`"
        advice = ""
        if t.is_numeric(a) and t.is_numeric(b) and a != b:
            message = f"`{op}` needs operands of one type, these are `{a}` and `{b}`"
            advice = f"convert one of them: `@as({a}, …)`"
        elif isinstance(a, t.StructType | t.ArrayType) and a == b:
            parts = "fields" if isinstance(a, t.StructType) else "elements"
            advice = f"compare, or compute with, its {parts} one by one"
        elif isinstance(a, t.PackedType) and a == b:
            advice = f"compare the integers: `@bitcast(u{t.packed_bits(a)}, …)`"
        fail("type-mismatch", message, span, help=advice)
    return result


def _common(left: Value, right: Value, a: t.Type, b: t.Type) -> t.Type | None:
    if a == b:
        return a
    if a is t.COMPTIME_INT and t.is_numeric(b):
        return b
    if b is t.COMPTIME_INT and t.is_numeric(a):
        return a
    if a is t.COMPTIME_FLOAT and isinstance(b, t.FloatType):
        return b
    if b is t.COMPTIME_FLOAT and isinstance(a, t.FloatType):
        return a
    if isinstance(a, t.IntegerType) and isinstance(b, t.IntegerType):
        if not isinstance(right, Runtime):
            return a
        if not isinstance(left, Runtime):
            return b
    for pointer, function in ((a, b), (b, a)):
        is_function = isinstance(function, t.FunctionType)
        if is_function and isinstance(pointer, t.PointerType) and pointer.pointee == function:
            return pointer
    return conversions.wider(a, b)


def _is_defined(op: BinaryOperator, type_: t.Type) -> bool:
    if op in EQUALITIES:
        simple = (t.BOOL, t.DIRECTION, t.TYPE, t.VOID, t.COMPTIME_STRING)
        return (
            t.is_numeric(type_)
            or type_ in simple
            or type_ in t.IDS
            or type_ in t.REGISTERS
            or isinstance(type_, t.EnumType | t.PointerType)
        )
    if op in BITWISE:
        return t.is_integer(type_) or type_ is t.BOOL
    if op is _B.REMAINDER:
        return t.is_integer(type_)
    return t.is_numeric(type_)


def shift_type(op: BinaryOperator, left: Value, right: Value, span: Span) -> t.Type:
    """Return the type of `left << right`, or fail."""
    a, b = type_of(left), type_of(right)
    is_count = b is t.COMPTIME_INT or (isinstance(b, t.IntegerType) and not b.is_signed)
    if isinstance(b, t.IntegerType) and not isinstance(right, Runtime):
        is_count = True
    if not t.is_integer(a) or not is_count:
        fail(
            "type-mismatch",
            f"`{op}` shifts an integer by an unsigned count, these are `{a}` and `{b}`",
            span,
            help="convert the count: `@as(u16, …)`" if t.is_integer(a) else "",
        )
    return a


def binary(op: BinaryOperator, left: Value, right: Value, span: Span) -> Value:
    """Compute `left op right` of two comptime values (not `and`/`or`, which branch)."""
    if type(left) is Scalar and type(right) is Scalar:
        type_, other = left.type, right.type
        if other is t.COMPTIME_INT and type(type_) is t.IntegerType and op not in SHIFTS:
            right = conversions.fit(right, type_, span)
        elif type_ is not other and op in SHIFTS:
            type_ = shift_type(op, left, right, span)
        elif type_ is not other:
            type_ = operand_type(op, left, right, span)
            left, right = (
                conversions.coerce_scalar(left, type_, span),
                conversions.coerce_scalar(right, type_, span),
            )
        elif type(type_) is not t.IntegerType:
            operand_type(op, left, right, span)
        return _binary_scalars(op, left, right, type_, span)
    if any(isinstance(type_of(operand), t.ArrayType) for operand in (left, right)):
        operand_type(op, left, right, span)  # refuses arrays, known or not
    if isinstance(left, Variable | Runtime):
        not_comptime(left, span)
    if isinstance(right, Variable | Runtime):
        not_comptime(right, span)
    operand_type(op, left, right, span)
    if isinstance(left, TypeValue) and isinstance(right, TypeValue):
        return boolean((left.type == right.type) == (op is _B.EQUAL))
    return boolean((left == right) == (op is _B.EQUAL))


def _binary_scalars(
    op: BinaryOperator, left: Scalar, right: Scalar, type_: t.Type, span: Span
) -> Scalar:
    compare = _COMPARE.get(op)
    is_plain = left.taint is None and right.taint is None
    if compare is not None:
        if is_plain:
            return TRUE if compare(left.value, right.value) else FALSE
        return Scalar(t.BOOL, compare(left.value, right.value), merge_taints(left, right, compare))
    if is_plain and op in _RING and type(type_) is t.IntegerType:
        return Scalar(type_, type_.wrap(_INT[op](left.value, right.value)))
    compute = _computation(op, type_, right, span)
    number = compute(left.value, right.value)
    if type_ is t.COMPTIME_INT and not -_COMPTIME_LIMIT < number < _COMPTIME_LIMIT:
        fail(
            "value-out-of-range",
            f"`{op}` gives a `comptime_int` of more than {MAX_COMPTIME_BITS:,} bits",
            span,
            help="look for a value that grows in a loop, or give it a sized type that wraps",
        )
    return Scalar(type_, number, merge_taints(left, right, compute))


def _computation(
    op: BinaryOperator, type_: t.Type, right: Scalar, span: Span
) -> Callable[[Any, Any], Number]:
    """Return the function that computes `op` in `type_`."""
    match type_:
        case t.FloatType():
            exact = _FLOAT.get(op)
            if exact is None:
                fail("type-mismatch", f"`{op}` is not defined on `{type_}`", span)
            return lambda a, b: round_float(type_, quiet(exact(a, b)))
        case t.IntegerType():
            exact = _checked_integer(op, right, span)
            if op in SHIFTS:
                width = type_.bits
                return lambda a, b: type_.wrap(exact(a, min(b, width)))
            return lambda a, b: type_.wrap(exact(a, b))
        case t.COMPTIME_FLOAT:
            exact = _FLOAT.get(op)
            if exact is None:
                fail("type-mismatch", f"`{op}` is not defined on `{type_}`", span)
            check_divisor(op, type_, right, span)
            return lambda a, b: quiet(exact(a, b))
        case _:
            return _checked_integer(op, right, span)


def _checked_integer(op: BinaryOperator, right: Scalar, span: Span) -> Callable[[Any, Any], int]:
    check_divisor(op, right.type, right, span)
    if op in SHIFTS and not 0 <= right.value <= MAX_COMPTIME_SHIFT:
        fail("value-out-of-range", f"a shift count of {right.value} makes no sense", span)
    return _INT[op]


def check_divisor(op: BinaryOperator, type_: t.Type, right: Value, span: Span) -> None:
    """Fail if integers or `comptime_float`s are divided by a known zero."""
    is_exact = t.is_integer(type_) or type_ is t.COMPTIME_FLOAT
    is_division = op in (_B.DIVIDE, _B.REMAINDER) and is_exact
    if is_division and isinstance(right, Scalar) and right.value == 0:
        fail("division-by-zero", "division by zero", span)


def unary(op: UnaryOperator, value: Value, span: Span) -> Value:
    """Compute `op value` (not `&`, which needs a place)."""
    type_ = unary_type(op, value, span)
    if type(value) is not Scalar:
        not_comptime(value, span)
    match op:
        case UnaryOperator.NOT:
            return map_scalar(value, t.BOOL, operator.not_)
        case UnaryOperator.NEGATE if isinstance(type_, t.IntegerType):
            return map_scalar(value, type_, lambda a: type_.wrap(-a))
        case UnaryOperator.NEGATE:
            return map_scalar(value, type_, lambda a: -a)
        case _ if isinstance(type_, t.IntegerType):
            return map_scalar(value, type_, lambda a: type_.wrap(~a))
        case _:
            return map_scalar(value, type_, lambda a: ~a)


def unary_type(op: UnaryOperator, value: Value, span: Span) -> t.Type:
    """Return the type of `op value`, or fail."""
    type_ = type_of(value)
    match op:
        case UnaryOperator.NOT:
            fits = type_ is t.BOOL
        case UnaryOperator.NEGATE:
            fits = t.is_numeric(type_)
        case _:
            fits = t.is_integer(type_)
    if not fits:
        fail("type-mismatch", f"`{op}` is not defined on `{type_}`", span)
    return type_
