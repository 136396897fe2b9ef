"""Predicates of types: whether one is a number, whether run time has values of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl.sema.types.kinds import (
    ArrayType,
    FloatType,
    FunctionType,
    IntegerType,
    StructType,
    Type,
)
from onewafer.csl.sema.types.names import COMPTIME_FLOAT, COMPTIME_INT, COMPTIME_ONLY, HALVES, VOID
from onewafer.csl.sema.types.sizes import scalar_type

if TYPE_CHECKING:
    from onewafer.image import ScalarType


def is_numeric(type_: Type) -> bool:
    """Tell whether arithmetic is defined on `type_`."""
    match type_:
        case IntegerType() | FloatType():
            return True
        case _:
            return type_ is COMPTIME_INT or type_ is COMPTIME_FLOAT


def is_integer(type_: Type) -> bool:
    """Tell whether `type_` is a sized integer or comptime_int."""
    return isinstance(type_, IntegerType) or type_ is COMPTIME_INT


def half_of(scalar: ScalarType) -> FloatType:
    """Return the CSL type of the 16-bit float that a program's instructions use."""
    return next(half for half in HALVES if scalar_type(half) is scalar)


def other_half(type_: Type, half: FloatType) -> FloatType | None:
    """Return a 16-bit float in `type_` other than `half`, the program's; None: there is none."""
    match type_:
        case FloatType():
            return type_ if type_ in HALVES and type_ != half else None
        case ArrayType(_, element):
            return other_half(element, half)
        case StructType(_, fields):
            return next(filter(None, (other_half(field, half) for field in fields)), None)
        case _:
            return None


def is_comptime_only(type_: Type, half: FloatType) -> bool:
    """Tell whether no value of `type_` exists at run time, with the 16-bit float of the program."""
    match type_:
        case StructType(_, fields, origin):
            return origin is None or any(is_comptime_only(field, half) for field in fields)
        case FunctionType():
            return True
        case ArrayType(_, element):
            return is_comptime_only(element, half)
        case FloatType():
            return other_half(type_, half) is not None
        case _:
            return type_ in COMPTIME_ONLY


def can_vary(type_: Type, half: FloatType) -> bool:
    """Tell whether a variable can be of `type_`; an anonymous struct is judged by its fields."""
    match type_:
        case StructType(_, fields):
            return all(can_vary(field, half) for field in fields)
        case _:
            return type_ is not VOID and not is_comptime_only(type_, half)
