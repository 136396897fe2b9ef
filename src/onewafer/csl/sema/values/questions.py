"""Functions of values of any kind: type, whether it is known, a key, a text."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NoReturn

from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.session.scalars import Scalar, force
from onewafer.csl.sema.values.kinds import (
    Array,
    Dsd,
    Dsr,
    FunctionAddress,
    FunctionValue,
    ModuleValue,
    Pointer,
    Range,
    Runtime,
    Struct,
    Text,
    TypeValue,
    Undefined,
    Value,
    Variable,
    Void,
)

if TYPE_CHECKING:
    from onewafer.diagnostics import Span


def type_of(value: Value) -> t.Type:
    """Return the CSL type of a value."""
    match value:
        case Scalar(type_) | Array(type_) | Pointer(type_) | Dsd(type_) | Dsr(type_):
            return type_
        case FunctionAddress(type_):
            return type_
        case Runtime(type_):
            return type_
        case Variable():
            return value.type
        case Struct(_, _, t.StructType() | t.PackedType() as type_):
            return type_
        case Struct(names, fields):
            return t.StructType(names, tuple(type_of(f) for f in fields))
        case Text():
            return t.COMPTIME_STRING
        case TypeValue():
            return t.TYPE
        case Void():
            return t.VOID
        case Undefined():
            return t.UNDEFINED
        case FunctionValue(module, declaration):
            return module.function_type(declaration)
        case ModuleValue():
            return t.MODULE
        case Range():
            return t.RANGE


def is_comptime(value: Value) -> bool:
    """Tell whether all of `value` is known at compile time."""
    match value:
        case Runtime():
            return False
        case Struct(_, fields):
            return all(is_comptime(f) and not isinstance(f, Variable) for f in fields)
        case Array(_, elements):
            return all(is_comptime(e) for e in elements)
        case Range(_, start, stop, step):
            return is_comptime(start) and is_comptime(stop) and is_comptime(step)
        case _:
            return True


def force_all(value: Value, reason: str, span: Span | None) -> Value:
    """Force every scalar in `value` to be the same on all PEs and return it without taint."""
    match value:
        case Scalar(type_, _, taint):
            return value if taint is None else Scalar(type_, force(value, reason, span))
        case Struct(_, fields):
            return value.with_fields(tuple(force_all(f, reason, span) for f in fields))
        case Array(type_, elements):
            return Array(type_, [force_all(e, reason, span) for e in elements])
        case _:
            return value


def force_arrays(value: Value, reason: str, span: Span | None) -> Value:
    """Force every scalar in arrays of `value`; scalars in structs may stay tainted."""
    match value:
        case Struct(_, fields):
            return value.with_fields(tuple(force_arrays(f, reason, span) for f in fields))
        case Scalar():
            return value
        case _:
            return force_all(value, reason, span)


def truth(value: Value, span: Span, reason: str = "condition") -> bool:
    """Return a comptime condition's truth value, forced to be the same on all PEs."""
    if type(value) is Scalar and value.type is t.BOOL:
        return bool(value.value) if value.taint is None else bool(force(value, reason, span))
    if isinstance(value, Variable | Runtime) and value.type is t.BOOL:
        not_comptime(value, span)
    fail(
        "type-mismatch",
        f"a condition is of type `bool`, this is of type `{type_of(value)}`",
        span,
        help="compare it with something: `x != 0`",
    )


def not_comptime(value: Value, span: Span | None) -> NoReturn:
    """Fail because `value` is needed while compiling but exists at run time only."""
    match value:
        case Variable(at=Pointer(_, whole)):
            what = f"a part of the variable `{whole.name}`"
        case Variable(name):
            what = f"the variable `{name}`"
        case _:
            what = "this value"
    fail(
        "not-comptime",
        f"{what} is not known at compile time",
        span,
        help="declare it `const`, or move the use into run-time code",
    )


def key_of(value: Value) -> object:
    """Return a hashable key, equal for equal values (taint is ignored)."""
    match value:
        case Scalar(type_, number):
            # By bits: 0.0 equals -0.0, and NaN does not equal itself.
            bits = struct.pack("<d", number) if isinstance(number, float) else number
            return (type_, type(number), bits)
        case Struct(names, fields):
            return (names, *(key_of(f) for f in fields))
        case Array(type_, elements):
            return (type_, *(key_of(e) for e in elements))
        case Pointer(type_, variable, offset):
            return (type_, id(variable), offset)
        case FunctionValue(module, declaration):
            return (id(module), id(declaration))
        case FunctionAddress(type_, function):
            return (type_, key_of(function))
        case ModuleValue(module):
            return id(module)
        case Variable() | Runtime():
            return id(value)
        case Range(type_, start, stop, step):
            return (type_, key_of(start), key_of(stop), key_of(step))
        case Dsd():
            base = key_of(value.base) if value.base is not None else None
            return (value.type, value.descriptor, base, key_of(value.extent), key_of(value.stride))
        case Text() | TypeValue() | Void() | Undefined() | Dsr():
            return value


def is_plain(value: Value) -> bool:
    """Tell whether a value is the same in every module and PE: numbers, strings and types."""
    match value:
        case Scalar(_, _, taint):
            return taint is None
        case Struct(_, fields):
            return all(map(is_plain, fields))
        case Array(_, elements):
            return all(map(is_plain, elements))
        case Text() | TypeValue() | Void():
            return True
        case _:
            return False


def show(value: Value) -> str:
    """Return a value as short text for messages."""
    match value:
        case Scalar(type_, number):
            match type_:
                case t.EnumType(_, members):
                    names = [n for n, v in members.items() if v == number]
                    return names[0] if names else str(number)
                case t.BOOL:
                    return "true" if number else "false"
                case t.DIRECTION:
                    return DIRECTION_NAMES[int(number)]
                case _:
                    return str(number)
        case Text():
            return f'"{value.shown}"'
        case TypeValue(type_):
            return str(type_)
        case Void():
            return "{}"
        case Struct(names, fields):
            if names is None:
                return f".{{ {', '.join(show(f) for f in fields)} }}"
            return f".{{ {', '.join(f'.{n} = {show(f)}' for n, f in value.items())} }}"
        case Array(type_, elements):
            return f"{type_}{{ {', '.join(show(e) for e in elements)} }}"
        case FunctionValue(_, declaration) | FunctionAddress(_, FunctionValue(_, declaration)):
            return declaration.name
        case _:
            return f"<{type_of(value)}>"


DIRECTION_NAMES: Final = ("WEST", "EAST", "SOUTH", "NORTH", "RAMP")
"""By `geometry.Direction` value."""
