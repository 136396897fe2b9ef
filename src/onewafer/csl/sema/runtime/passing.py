"""Structs and arrays that only run time knows, as arguments of functions.

The fields of a struct are passed as separate arguments. An array is passed by the address of a
copy, which nothing changes while the function runs; through a function pointer, so is a struct.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeGuard

from onewafer.csl import ir
from onewafer.csl.sema import types as t
from onewafer.csl.sema.runtime import order
from onewafer.csl.sema.runtime.dispatch import evaluate_type
from onewafer.csl.sema.runtime.structs import readable
from onewafer.csl.sema.values import (
    Array,
    Runtime,
    Struct,
    Undefined,
    Value,
    Variable,
    conversions,
    force_all,
    is_comptime,
    key_of,
    not_comptime,
    type_of,
)
from onewafer.csl.sema.values.in_memory import address_of_variable, pointer_to, struct_at

if TYPE_CHECKING:
    from onewafer.csl.sema.instance.analyzer import Analyzer
    from onewafer.csl.sema.instance.bound_names import RuntimeLocal
    from onewafer.csl.syntax import ast
    from onewafer.diagnostics import Span


def is_run_time(argument: Value) -> TypeGuard[Struct | Variable | Array]:
    """Tell whether an argument is a struct or an array that only run time knows."""
    return _is_array(argument) or (isinstance(argument, Struct) and not is_comptime(argument))


def has_array(argument: Value) -> bool:
    """Tell whether an argument is or contains an array that only run time knows."""
    if isinstance(argument, Struct):
        return any(map(has_array, argument.fields))
    return _is_array(argument)


def _is_array(argument: Value) -> TypeGuard[Variable | Array]:
    match argument:
        case Array():
            return not is_comptime(argument)
        case Variable(type=t.ArrayType()):
            return True
        case _:
            return False


def in_type_of(
    a: Analyzer,
    callee: Analyzer,
    parameter: ast.Parameter,
    argument: Struct | Variable | Array,
    span: Span,
) -> Struct | Variable | Array:
    """Return a struct or array argument in the type of its parameter, or fail."""
    type_ = evaluate_type(callee, parameter.type) if parameter.type is not None else t.ANYTYPE
    value: Value = argument
    if type_ not in (t.ANYTYPE, t.COMPTIME_STRUCT, type_of(argument)):
        what = f"the argument `{parameter.name}`"
        value = a.coerce(argument, type_, span, what)
        if not isinstance(value, Struct | Variable | Array):
            conversions.mismatch(argument, type_, span, what)
    return readable(a, parameter.name, value, span) if isinstance(value, Struct) else value


def by_address(type_: t.Type | None) -> TypeGuard[t.StructType | t.ArrayType]:
    """Tell whether a value of a type is passed by address through a function pointer."""
    return isinstance(type_, t.StructType | t.ArrayType)


def copied(
    a: Analyzer, name: str, value: Value, type_: t.StructType | t.ArrayType, span: Span
) -> ir.Expression:
    """Return the address of a copy of a struct or array; of a known one, of a constant."""
    if is_comptime(value) and not isinstance(value, Variable):
        variable = Variable(f"{a.name}.{name}", type_, value, span, is_const=True)
    else:
        variable = order.stored(a, name, value, type_, span)
    return a.expression(address_of_variable(variable), span)


def behind_address(
    callee: Analyzer, name: str, type_: t.StructType | t.ArrayType, span: Span
) -> tuple[Struct | Variable, RuntimeLocal]:
    """Return the value of a parameter passed by address, and the local with the address."""
    pointer = t.PointerType(type_, is_const=True)
    local = callee.new_local(name, pointer, is_const=True)
    at = Runtime(pointer, ir.ReadLocal(local.local))
    if isinstance(type_, t.StructType):
        return struct_at(at, span), local
    return Variable(name, type_, Undefined(), span, is_const=True, at=at), local


@dataclass(frozen=True, slots=True)
class Parts:
    """Passes the parts of a run-time struct or array to a function."""

    caller: Analyzer
    callee: Analyzer
    span: Span
    parameters: list[RuntimeLocal]
    passed: list[ir.Expression]

    def bind(self, name: str, value: Struct | Variable | Array) -> tuple[Value, object]:
        """Pass a value; return it as the callee sees it, and its part of the function's key."""
        if not isinstance(value, Struct):
            return self._array(name, value)
        labels = value.names if value.names is not None else range(len(value.fields))
        bound = [
            self._field(f"{name}.{label}", field)
            for label, field in zip(labels, value.fields, strict=True)
        ]
        parts = tuple(part for _, part in bound)
        inside = value.with_fields(tuple(field for field, _ in bound))
        return inside, (value.names, value.type, parts)

    def _field(self, name: str, field: Value) -> tuple[Value, object]:
        if is_run_time(field):
            return self.bind(name, field)
        if not isinstance(field, Runtime):
            if not is_comptime(field):
                not_comptime(field, self.span)
            known = force_all(field, f"the argument `{name}`", self.span)
            return known, ("comptime", type_of(known), key_of(known))
        self.callee.ir_type(field.type, self.span)
        local = self.callee.new_local(name, field.type, is_const=True, descriptor=field.descriptor)
        self.parameters.append(local)
        self.passed.append(field.expression)
        inside = Runtime(field.type, ir.ReadLocal(local.local), field.descriptor)
        return inside, ("run time", field.type, field.descriptor)

    def _array(self, name: str, value: Variable | Array) -> tuple[Value, object]:
        """Pass the address of an array, which nothing changes during the call."""
        type_ = value.type
        assert isinstance(type_, t.ArrayType)
        if isinstance(value, Array):
            value = order.stored(self.caller, name, value, type_, self.span)
        inside, local = behind_address(self.callee, name, type_, self.span)
        self.parameters.append(local)
        self.passed.append(self.caller.expression(pointer_to(value), self.span))
        return inside, ("array", type_)
