"""Structs at run time: variables of struct types; structs and arrays as results of functions.

A variable lies in memory, and its fields are variables in it. A function returns a struct or array
in a variable of its own, since functions are not reentrant; the caller copies it out at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl.sema import types as t
from onewafer.csl.sema.runtime import order, stores
from onewafer.csl.sema.values import Struct, Undefined, Value, Variable
from onewafer.csl.sema.values.in_memory import address_of_variable, pointer_to, struct_at

if TYPE_CHECKING:
    from onewafer.csl.sema.instance.analyzer import Analyzer
    from onewafer.diagnostics import Span


def declare_struct(
    a: Analyzer,
    name: str,
    type_: t.StructType,
    value: Value,
    span: Span,
    *,
    is_const: bool = False,
    alignment: int | None = None,
) -> Struct:
    """Return a local variable of a struct type, and store its first value."""
    stores.check_stored(a, type_, span)
    variable = a.new_variable(name, type_, span, is_const=is_const, alignment=alignment)
    if not isinstance(value, Undefined):
        stores.store_struct(a, address_of_variable(variable), type_, value, span)
    return struct_at(address_of_variable(variable), span)


def is_overlaid(value: Struct) -> bool:
    """Tell whether a value is or contains an `extern union`, of which any variant may be read."""
    is_one = isinstance(value.type, t.StructType) and value.type.is_overlaid
    return is_one or any(isinstance(f, Struct) and is_overlaid(f) for f in value.fields)


def readable(a: Analyzer, name: str, value: Struct, span: Span) -> Struct:
    """Return a value whose `extern union`s lie in memory, to be read by any variant."""
    type_ = value.type
    if not isinstance(type_, t.StructType) or value.address is not None or not is_overlaid(value):
        return value
    loaded = a.load(declare_struct(a, name, type_, value, span), span)
    assert isinstance(loaded, Struct)
    return loaded


# --- results -------------------------------------------------------------------------------------


def store_result(a: Analyzer, value: Value, type_: t.StructType | t.ArrayType, span: Span) -> None:
    """Store the result of a function in the type `type_`, or fail."""
    assert a.stored_result is not None
    what = "the result"
    coerced = order.apart(a, a.coerce(value, type_, span, what), type_, span)
    stores.store_value(a, address_of_variable(a.stored_result), type_, coerced, span)


def load_result(a: Analyzer, variable: Variable, span: Span) -> Struct | Variable:
    """Return the result of a call that was just made: fields in locals, arrays copied."""
    if isinstance(variable.type, t.ArrayType):
        return order.stored(a, variable.name, variable, variable.type, span)
    result = order.settled(a, "field", struct_at(pointer_to(variable), span), span)
    assert isinstance(result, Struct)
    return _as_value(result)


def _as_value(value: Struct) -> Struct:
    """Return a struct without its address; an anonymous one loses its type, too."""
    fields = tuple(_as_value(f) if isinstance(f, Struct) else f for f in value.fields)
    is_named = value.type is not None and value.type.origin is not None
    return Struct(value.names, fields, value.type if is_named else None)
