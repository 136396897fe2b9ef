"""Conversions of values to other types: implicit, and by `@as`.

Typing rules are shared with run time; tainted numbers stay tainted.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NoReturn

from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.values import (
    Array,
    FunctionAddress,
    FunctionValue,
    Number,
    Pointer,
    Runtime,
    Scalar,
    Struct,
    Taint,
    Undefined,
    Value,
    Variable,
    Void,
    force,
    map_scalar,
    not_comptime,
    packed,
    type_of,
)
from onewafer.csl.sema.values.formats import (
    from_bits,
    quiet,
    round_float,
    to_bits,
    to_double,
    to_float,
)
from onewafer.csl.sema.values.structs import check_names
from onewafer.csl.syntax.ast import Storage

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.diagnostics import Span


# --- coercion ------------------------------------------------------------------------------------


def coerce_scalar(value: Scalar, type_: t.Type, span: Span | None, what: str = "") -> Scalar:
    """Return a number as `type_` if the language converts it by itself, or fail."""
    source = value.type
    if source is type_ or source == type_:
        return value
    match type_:
        case t.IntegerType() if t.is_integer(source):
            return fit(value, type_, span, what)
        case t.COMPTIME_INT if isinstance(source, t.IntegerType):
            return Scalar(type_, value.value, value.taint)
        case t.FloatType() if source in (t.COMPTIME_INT, t.COMPTIME_FLOAT):
            return map_scalar(value, type_, lambda a: to_float(type_, a))
        case t.COMPTIME_FLOAT if source is t.COMPTIME_INT or isinstance(source, t.FloatType):
            return map_scalar(value, type_, to_double)
        case t.FloatType() if widens(source, type_):
            return map_scalar(value, type_, quiet)
        case _:
            mismatch(value, type_, span, what)


def wider(a: t.Type, b: t.Type) -> t.Type | None:
    """Return the wider of two types if the other widens to it; None: neither does."""
    if widens(a, b):
        return b
    return a if widens(b, a) else None


def widens(source: t.Type, target: t.Type) -> bool:
    """Tell whether a target of the same kind is wider and has all numbers of the source."""
    match source, target:
        case t.IntegerType(), t.IntegerType():
            keeps_sign = source.is_signed == target.is_signed or not source.is_signed
            return source.bits < target.bits and keeps_sign
        case t.FloatType(), t.FloatType():
            return source.bits < target.bits
        case _:
            return False


def fit(value: Scalar, type_: t.IntegerType, span: Span | None, what: str = "") -> Scalar:
    """Return an integer in a sized type, or fail if it is out of range."""
    number = value.value
    low, high = type_.minimum, type_.maximum
    if not decide(value, lambda n: low <= n <= high, f"must fit in {type_}", span):
        fail(
            "value-out-of-range",
            f"{what or 'the value'} {number} does not fit in `{type_}` ({low} … {high})",
            span,
            help=f"`@as({type_}, …)` keeps the low bits, if that is meant",
        )
    return Scalar(type_, number, value.taint)


def decide(value: Scalar, holds: Callable[[Number], bool], reason: str, span: Span | None) -> bool:
    """Return `holds` of a number and record that all PEs of the instance have to agree on it."""
    answer, taint = holds(value.value), value.taint
    if taint is not None:
        f = taint.evaluate
        property_ = Taint(lambda row: holds(f(row)), taint.params, taint.decisions)
        taint.decisions.add(property_, answer, reason, span)
    return answer


_BY_NUMBER: Final = "if their numbers agree: `@as(T, @get_int(…))`"
"""Advice for converting a value of one enum type to another, `T`."""


def mismatch(value: Value, type_: t.Type, span: Span | None, what: str = "") -> NoReturn:
    """Fail because `value` is not of `type_`."""
    source = type_of(value)
    advice = ""
    if isinstance(source, t.EnumType) and isinstance(type_, t.EnumType):
        advice = _BY_NUMBER
    elif isinstance(source, t.IntegerType | t.FloatType | t.EnumType) and (
        t.is_numeric(type_) or isinstance(type_, t.EnumType)
    ):
        advice = f"convert it: `@as({type_}, …)`"
    elif type_ is t.COLOR and t.is_integer(source):
        advice = "make a color of it: `@get_color(…)`"
    elif type_ in t.IDS and t.is_integer(source):
        advice = f"make an id of it: `@get_{type_}(…)`"
    elif isinstance(source, t.PointerType) and isinstance(type_, t.PointerType):
        advice = _pointer_advice(source, type_)
    fail(
        "type-mismatch",
        f"{what or 'a value'} of type `{type_}` is expected, this is of type `{source}`",
        span,
        help=advice,
    )


def _pointer_advice(source: t.PointerType, type_: t.PointerType) -> str:
    """Return the advice for converting a pointer to another type."""
    constant = t.PointerType(type_.pointee, is_const=True, is_many=type_.is_many)
    if source.is_const and not type_.is_const and _points_like(source, constant):
        return f"it leads to something constant: declare that with `var`, or take a `{constant}`"
    match source.pointee:
        case t.ArrayType(_, element) if element == type_.pointee and not type_.is_many:
            return "take the address of an element: `&array[0]`"
        case _:
            return f"if that is meant: `@ptrcast({type_}, …)`"


def coerce(value: Value, type_: t.Type, span: Span | None, what: str = "") -> Value:
    """Return `value` as `type_` if the language converts it by itself (2.2), or fail."""
    match value:
        case Scalar():
            return coerce_scalar(value, type_, span, what)
        case Undefined():
            return zero(type_, span)
        case Pointer():
            if value.type == type_:
                return value
            if isinstance(type_, t.PointerType) and _points_like(value.type, type_):
                return Pointer(type_, value.variable, value.offset, value.reach)
        case Array(source, elements) if isinstance(type_, t.ArrayType):
            if source == type_:
                return value
            if source.dimensions == type_.dimensions:
                return Array(type_, [coerce(e, type_.element, span, what) for e in elements])
        case Struct():
            if type_ is t.COMPTIME_STRUCT or type_of(value) == type_:
                return value
            if isinstance(type_, t.StructType):
                return to_struct(value, type_, lambda f, u: coerce(f, u, span, what), span, what)
            if isinstance(type_, t.PackedType) and value.type is None:
                return _to_packed(value, type_, span)
        case FunctionValue() if isinstance(type_, t.FunctionType):
            actual = type_of(value)
            assert isinstance(actual, t.FunctionType)
            if actual == type_:
                return value
        case FunctionValue() if isinstance(type_, t.PointerType) and type_.is_const:
            if type_of(value) == type_.pointee:
                return function_address(value, span)
        case FunctionAddress(_, function) if isinstance(type_, t.FunctionType):
            if type_of(function) == type_:
                return function
        case Variable():
            not_comptime(value, span)
        case _:
            if type_of(value) == type_:
                return value
    if type_ is t.ANYTYPE:
        return value
    mismatch(value, type_, span, what)


def function_address(value: FunctionValue, span: Span | None) -> FunctionAddress:
    """Return the address of a function, or fail if it cannot be called through a pointer."""
    declaration = value.declaration
    if declaration.storage is Storage.INLINE or declaration.is_task:
        what = "a task" if declaration.is_task else "an `inline` function"
        fail(
            "type-mismatch",
            f"`{declaration.name}` is {what}, which cannot be called through a pointer",
            span,
            help="point to a `fn` that does this",
        )
    type_ = type_of(value)
    assert isinstance(type_, t.FunctionType)
    half = value.module.session.half
    for part in (*type_.parameters, type_.result):
        if part is None or not _exists(part, half):
            fail(
                "unsupported-feature",
                f"a `{type_}` cannot be called through a pointer",
                span,
                help="let its parameters and its result have types with a size at run time: "
                "numbers, pointers, DSDs, structs and arrays of them",
            )
    return FunctionAddress(t.PointerType(type_, is_const=True), value)


def _exists(type_: t.Type, half: t.FloatType) -> bool:
    """Tell whether a value of the type can be passed to, or returned from, a function pointer."""
    match type_:
        case t.StructType() | t.ArrayType():
            return t.can_vary(type_, half) and t.num_bytes(type_) > 0
        case _:
            return not t.is_comptime_only(type_, half)


def to_struct(
    value: Struct,
    type_: t.StructType,
    convert: Callable[[Value, t.Type], Value],
    span: Span | None,
    what: str = "",
) -> Struct:
    """Return an anonymous struct as one of another type, each field converted, or fail."""
    names, given = type_.names or (), value.names or ()
    is_named = value.type is not None and value.type.origin is not None
    if type_.origin is None:
        if is_named or (value.names, len(value.fields)) != (type_.names, len(type_.fields)):
            mismatch(value, type_, span, what)
        fields = zip(value.fields, type_.fields, strict=True)
        return Struct(value.names, tuple(convert(field, wanted) for field, wanted in fields))
    if is_named or (value.names is None and value.fields):
        mismatch(value, type_, span, what)
    if type_.is_union:
        return _to_union(value, type_, convert, span)
    check_names(given, names, f"`{type_}`", span)
    by_name = dict(value.items())
    pairs = zip(names, type_.fields, strict=True)
    return Struct(names, tuple(convert(by_name[n], field) for n, field in pairs), type_)


def _to_packed(value: Struct, type_: t.PackedType, span: Span | None) -> Scalar | Struct:
    """Return an anonymous struct of known fields as a packed one, or fail."""
    packed.check_given(value, type_, span)
    fields: dict[str, Value] = {}
    for name, field in value.items():
        wanted = type_.fields[type_.names.index(name)]
        fields[name] = coerce(field, wanted, span, f"the field `{name}`")
    if not type_.is_union and not all(isinstance(field, Scalar) for field in fields.values()):
        return Struct(type_.names, tuple(fields[name] for name in type_.names), type_)
    result = Scalar(type_, 0)
    for name, field in fields.items():
        result = packed.write(result, name, field, span)
    return result


def _to_union(
    value: Struct,
    type_: t.StructType,
    convert: Callable[[Value, t.Type], Value],
    span: Span | None,
) -> Struct:
    """Return a union in which the one field that is given is active, or fail."""
    names, given = type_.names or (), value.names or ()
    if len(given) != 1:
        fail(
            "type-mismatch",
            f"a `{type_}` is given exactly one of its fields, not {len(given)}",
            span,
        )
    check_names((*given, *(name for name in names if name not in given)), names, f"`{type_}`", span)
    fields = tuple(
        convert(value.fields[0], field) if name == given[0] else Undefined()
        for name, field in zip(names, type_.fields, strict=True)
    )
    return Struct(names, fields, type_)


def _points_like(source: t.PointerType, target: t.PointerType) -> bool:
    """Tell whether a pointer type converts implicitly.

    `*[n]T` → `[*]T`, `*T` → `*const T`, `*T` → `*[1]T`, and any to `*anyopaque`; a pointer never
    loses its `const`.
    """
    if source.is_const and not target.is_const:
        return False
    if source.pointee == target.pointee:
        return source.is_many == target.is_many
    if target.pointee is t.ANYOPAQUE and not target.is_many:
        return True
    if not source.is_many and target.pointee == t.ArrayType((1,), source.pointee):
        return not target.is_many
    match source:
        case t.PointerType(t.ArrayType(_, element), _, False):
            return target.is_many and element == target.pointee
        case _:
            return False


def pointer_converts(source: t.Type, target: t.Type) -> bool:
    """Tell whether a run-time pointer of `source` is accepted where `target` is expected."""
    match source, target:
        case t.PointerType(), t.PointerType():
            return _points_like(source, target)
        case _:
            return False


# --- explicit conversion -------------------------------------------------------------------------


def convert(type_: t.Type, value: Value, span: Span) -> Value:
    """`@as(type_, value)` of a comptime value."""
    if type(value) is not Scalar:
        return coerce(value, type_, span)
    source = value.type
    if source == type_:
        return value
    check_convertible(source, type_, span)
    from_float = isinstance(source, t.FloatType) or source is t.COMPTIME_FLOAT
    match type_:
        case t.BOOL:
            return map_scalar(value, type_, lambda a: a != 0)
        case t.IntegerType():
            if from_float:
                _check_finite(value, span)
                return map_scalar(value, type_, lambda a: _truncate(a, type_))
            return map_scalar(value, type_, lambda a: type_.wrap(int(a)))
        case t.FloatType() if isinstance(source, t.FloatType):
            return map_scalar(value, type_, lambda a: quiet(round_float(type_, a)))
        case t.FloatType():
            return map_scalar(value, type_, lambda a: to_float(type_, a))
        case t.EnumType(base, members):
            _check_finite(value, span)
            number = int(force(value, "enum value", span))
            if number not in members.values():
                fail("value-out-of-range", f"{number} is not a value of `{type_}`", span)
            return Scalar(type_, base.wrap(number))
        case t.COMPTIME_INT:
            _check_finite(value, span)
            return map_scalar(value, type_, int)
        case _:
            return map_scalar(value, type_, to_double)


def _check_finite(value: Scalar, span: Span) -> None:
    """Fail if a number to be converted to an integer is infinite or NaN."""

    def is_finite(number: Number) -> bool:
        return isinstance(number, int) or math.isfinite(number)

    if not decide(value, is_finite, "must be finite", span):
        fail(
            "value-out-of-range",
            f"{value.value} is not an integer",
            span,
            help="ask first: `isFinite(x)` of `<math>`",
        )


def check_convertible(source: t.Type, target: t.Type, span: Span) -> None:
    """Fail unless `@as` converts `source`, another type, to `target`."""

    def is_plain(type_: t.Type) -> bool:
        return t.is_numeric(type_) or type_ is t.BOOL or isinstance(type_, t.EnumType)

    are_enums = isinstance(source, t.EnumType) and isinstance(target, t.EnumType)
    if are_enums or not (is_plain(source) and is_plain(target)):
        other = ", another enum" if are_enums else ""
        hint = "`@get_int(…)` reads the number of an id" if source in t.IDS else ""
        fail(
            "type-mismatch",
            f"`@as` cannot convert `{source}` to `{target}`{other}",
            span,
            help=_BY_NUMBER if are_enums else hint,
        )


def _truncate(value: float, type_: t.IntegerType) -> int:
    """Round toward zero and keep the low bits, as CONVERT does; NaN and infinities give 0."""
    return type_.wrap(math.trunc(value)) if math.isfinite(value) else 0


def bitcast(type_: t.Type, value: Scalar, span: Span) -> Scalar:
    """`@bitcast(type_, value)` of a comptime number of the same size."""
    if t.num_bits(value.type) != t.num_bits(type_) or not t.num_bits(type_):
        fail(
            "type-mismatch",
            f"`@bitcast` needs types of one size, these are `{value.type}` and `{type_}`",
            span,
            help="give the value a sized type first: `@as(u16, …)`",
        )
    source = value.type
    return map_scalar(value, type_, lambda a: from_bits(type_, to_bits(source, a)))


def zero(type_: t.Type, span: Span | None) -> Value:
    """Return the zero value of a type (`@zeros`)."""
    match type_:
        case t.ArrayType(_, element):
            return Array(type_, [zero(element, span)] * type_.num_elements)
        case t.FloatType() | t.COMPTIME_FLOAT:
            return Scalar(type_, 0.0)
        case t.BOOL:
            return Scalar(type_, value=False)
        case t.VOID:
            return Void()
        case t.StructType(names, fields):
            return Struct(names, tuple(zero(field, span) for field in fields), type_)
        case t.PackedType():
            return Scalar(type_, 0)
        case _ if t.is_integer(type_) or t.register_type(type_) is not None or type_ in t.DSDS:
            return Scalar(type_, 0)
        case _:
            fail("type-mismatch", f"`{type_}` has no zero value", span)


def integer(value: Value, span: Span, what: str) -> Scalar:
    """Return an integer scalar of any integer type, or fail."""
    if type(value) is Scalar and t.is_integer(value.type):
        return value
    if isinstance(value, Variable | Runtime):
        not_comptime(value, span)
    fail("type-mismatch", f"{what} is an integer, this is of type `{type_of(value)}`", span)


def forced_integer(value: Value, span: Span, what: str) -> int:
    """Return an integer that has to be the same on all PEs of the instance, see `force`."""
    return int(force(integer(value, span, what), what, span))
