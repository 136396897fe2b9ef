"""Addresses of globals and members, and values at known addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.rules.members import member
from onewafer.csl.sema.values import (
    FunctionValue,
    ModuleValue,
    Pointer,
    Runtime,
    Struct,
    Undefined,
    Value,
    Variable,
    not_comptime,
    packed,
    type_of,
)
from onewafer.csl.sema.values.in_memory import (
    address_of_field,
    address_of_variable,
    known_part,
    moved,
    pointer_to,
    struct_at,
)

if TYPE_CHECKING:
    from onewafer.csl.sema.values import Module
    from onewafer.diagnostics import Span


def address_of_global(module: Module, name: str, span: Span) -> Value:
    """Return `&name` of a top-level declaration; a function stands for its address."""
    early = module.early_lvalue(name)
    if early is not None:
        return address_of_variable(early)
    value = module.read(name, span)
    match value:
        case FunctionValue():
            return value
        case Struct(address=address) if address is not None:
            return address
        case _:
            return address_of_variable(module.materialize(name, span))


def address_of_member(base: Value, name: str, span: Span) -> Value:
    """Return `&base.name`."""
    match base:
        case ModuleValue(module):
            return address_of_global(module, name, span)
        case Struct(type=t.PackedType() as type_):
            member(base, name, span)
            _no_address(type_, span)
        case Struct():
            member(base, name, span)  # refuses a variant that is not active
            return address_of_field(base, (base.names or ()).index(name), span)
        case Variable(type=t.PackedType() as type_):
            return _address_in_packed(base, type_, name, span)
        case _:
            member(base, name, span)  # refuses a missing field
            no_address(span)


def _address_in_packed(
    base: Variable, type_: t.PackedType, name: str, span: Span
) -> Pointer | Runtime:
    """Return the address of a variant of an `extern union`; fail for any other packed field."""
    field, _ = packed.field_of(type_, name, span)
    if type_.qualifier == "packed":
        _no_address(type_, span)
    if t.is_narrow(field):
        fail(
            "type-mismatch",
            f"a variant of type `{field}` has no address: others fill the rest of its bytes",
            span,
            help="take the address of the whole, or copy the variant to a variable",
        )
    address = pointer_to(base)
    return moved(address, 0, field, is_const=base.is_const)


def _no_address(type_: t.PackedType, span: Span) -> NoReturn:
    fail(
        "type-mismatch",
        f"a field of a `{type_.kind}` has no address: it is bits of an integer",
        span,
        help="take the address of the whole, or copy the field to a variable",
    )


def expect_pointer(value: Value, span: Span) -> Pointer:
    """Return a comptime pointer, or fail."""
    if isinstance(value, Pointer):
        return value
    if isinstance(value, Variable | Runtime):
        not_comptime(value, span)
    fail("type-mismatch", f"`.*` needs a pointer, this is of type `{type_of(value)}`", span)


def check_single(pointer: t.PointerType, span: Span) -> None:
    """Fail if `.*` is written after a pointer to many."""
    if pointer.is_many:
        fail(
            "type-mismatch",
            f"a `{pointer}` is indexed, not dereferenced",
            span,
            help="write `p[0]`",
        )


def dereferenced(value: Value, span: Span) -> Pointer:
    """Return the address of `value.*`, or fail."""
    pointer = expect_pointer(value, span)
    check_single(pointer.type, span)
    return pointer


def known_at(pointer: Value, span: Span) -> Value:
    """Return `pointer.*` if that is constant, or fail."""
    if isinstance(pointer, Pointer):
        check_single(pointer.type, span)
    if isinstance(pointer, Pointer) and pointer.variable.is_const:
        known = known_part(pointer)
        if not isinstance(known, Undefined):
            return known
    fail("not-comptime", "memory cannot be read at compile time", span)


def pointed_at(pointer: Value, span: Span) -> Value:
    """Return `pointer.*` as an operand: the variable itself, or a known constant."""
    match pointer:
        case Pointer(t.PointerType(_, _, True)):
            return known_at(pointer, span)  # fails
        case Pointer(t.PointerType(t.StructType())):
            return struct_at(pointer, span)
        case Pointer(t.PointerType(pointee), variable, 0) if variable.type == pointee:
            return variable
        case _:
            return known_at(pointer, span)


def no_address(span: Span) -> NoReturn:
    """Fail because an expression has no address."""
    fail(
        "not-assignable",
        "only variables and their elements have an address",
        span,
        help="put the value into a `var` first",
    )


def no_comptime_address(name: str, span: Span) -> NoReturn:
    """Fail because comptime locals are not in PE memory."""
    fail("not-assignable", f"`{name}` lives at compile time only and has no address", span)
