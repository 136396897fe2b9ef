"""Structs at run time: variables of struct types, and structs as results of functions.

A variable is a struct of variables, one a field. A result lies in memory between the return and the
caller: no function is re-entered, so each has one such place; the caller takes the fields out at
once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl import ir
from onewafer.csl.sema import conversions
from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.runtime import order, statements
from onewafer.csl.sema.runtime.analyzer import Analyzer, ir_type
from onewafer.csl.sema.values import Pointer, Runtime, Struct, Undefined, Value, Variable, type_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onewafer.csl.sema.instance import FieldPath
    from onewafer.diagnostics import Span


def store_fields(a: Analyzer, value: Value, type_: t.StructType, span: Span) -> None:
    """Store the fields of a result, or fail if it is no struct of this type.

    Each is computed before any is stored: it may be made of results of this function.
    """
    leaves = [
        (path, field_type, order.once(a, "field", a.expression(field, span), field_type, span))
        for path, field_type, field in _leaves(a, value, type_, span, ())
    ]
    for path, field_type, kept in leaves:
        place = _place(a, a.struct_result, path, field_type, span)
        a.emit(ir.Store(ir_type(field_type, span), place, 0, kept, span))


def load_fields(
    a: Analyzer, places: dict[FieldPath, Variable], type_: t.StructType, span: Span
) -> Struct:
    """Return the result of a call that was just made, its fields in locals."""

    def load(field_type: t.Type, path: FieldPath) -> Value:
        if isinstance(field_type, t.StructType):
            fields = tuple(load(inner, (*path, i)) for i, inner in enumerate(field_type.fields))
            named = field_type if field_type.origin is not None else None
            return Struct(field_type.names, fields, named)
        local = a.new_local("field", field_type, is_const=True).local
        place = _place(a, places, path, field_type, span)
        a.emit(ir.SetLocal(local, ir.Load(ir_type(field_type, span), place), span))
        return Runtime(field_type, ir.ReadLocal(local))

    result = load(type_, ())
    assert isinstance(result, Struct)
    return result


# --- variables -----------------------------------------------------------------------------------


def declare_struct(a: Analyzer, name: str, type_: t.StructType, value: Value, span: Span) -> Struct:
    """Return a local variable of a struct type, its fields in memory, and store its first value."""
    given = value.fields if isinstance(value, Struct) else (Undefined(),) * len(type_.fields)
    fields: list[Value] = []
    for label, field_type, field in zip(t.labels(type_), type_.fields, given, strict=True):
        inner = f"{name}.{label}"
        if isinstance(field_type, t.StructType):
            fields.append(declare_struct(a, inner, field_type, field, span))
            continue
        variable = a.new_variable(inner, field_type, span, is_const=False)
        if not isinstance(field, Undefined):
            statements.store_value(a, _pointer(variable), field_type, field, span)
        fields.append(variable)
    return Struct(type_.names, tuple(fields), type_)


def assign_struct(a: Analyzer, target: Struct, value: Value, span: Span) -> None:
    """Assign to a variable of a struct type; the new value may be made of its old fields."""
    type_ = type_of(target)
    assert isinstance(type_, t.StructType)
    _store_each(a, target, order.settled(a, "field", a.coerce(value, type_, span), span), span)


def _store_each(a: Analyzer, target: Struct, value: Value, span: Span) -> None:
    assert isinstance(value, Struct)
    for place, field in zip(target.fields, value.fields, strict=True):
        match place:
            case _ if isinstance(field, Undefined):
                pass  # a variant of a union that is not active
            case Struct():
                _store_each(a, place, field, span)
            case Variable(is_const=False):
                statements.store_value(a, _pointer(place), place.type, field, span)
            case _:
                fail("not-assignable", "this struct is constant", span)


def _pointer(variable: Variable) -> Pointer:
    return Pointer(t.PointerType(variable.type), variable)


# --- results -------------------------------------------------------------------------------------


def _leaves(
    a: Analyzer, value: Value, type_: t.StructType, span: Span, path: FieldPath
) -> Iterator[tuple[FieldPath, t.Type, Value]]:
    if isinstance(value, Struct) and type_.origin is not None:
        value = a.coerce(value, type_, span, "the result")
    match value:
        case Struct(names, fields) if names == type_.names and len(fields) == len(type_.fields):
            pass
        case _:
            conversions.mismatch(value, type_, span, "the result")
    for i, (field, field_type) in enumerate(zip(fields, type_.fields, strict=True)):
        if isinstance(field_type, t.StructType):
            yield from _leaves(a, field, field_type, span, (*path, i))
        else:
            yield (*path, i), field_type, a.coerce(field, field_type, span, "the result")


def _place(
    a: Analyzer, places: dict[FieldPath, Variable], path: FieldPath, type_: t.Type, span: Span
) -> ir.Expression:
    if path not in places:
        places[path] = a.new_variable("result", type_, span, is_const=False)
    variable = places[path]
    return a.expression(Pointer(t.PointerType(type_of(variable)), variable), span)
