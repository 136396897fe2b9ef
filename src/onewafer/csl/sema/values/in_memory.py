"""Layout in memory: addresses of variables and their parts, structs at an address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl import ir
from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.values import Array, Pointer, Runtime, Struct, Undefined, Value, Variable
from onewafer.image import Opcode, ScalarType

if TYPE_CHECKING:
    from onewafer.diagnostics import Span


def address_of_variable(variable: Variable) -> Pointer:
    """Return `&variable` of a variable whose address the linker knows."""
    address = pointer_to(variable)
    assert isinstance(address, Pointer)
    return address


def pointer_to(variable: Variable) -> Pointer | Runtime:
    """Return `&variable`."""
    if variable.at is None:
        return Pointer(t.PointerType(variable.type, variable.is_const), variable)
    return moved(variable.at, variable.offset, variable.type, is_const=variable.is_const)


def moved(
    address: Pointer | Runtime, offset: int, type_: t.Type, *, is_const: bool
) -> Pointer | Runtime:
    """Return the address of a part of type `type_` that begins `offset` bytes behind an address."""
    pointer = t.PointerType(type_, is_const)
    match address:
        case Pointer(_, variable, start):
            return Pointer(pointer, variable, start + offset)
        case Runtime(_, base):
            amount = ir.Immediate(ScalarType.U16, offset)
            moved_ = ir.Binary(Opcode.ADD, ScalarType.U16, base, amount) if offset else base
            return Runtime(pointer, moved_)


def address_of_field(base: Struct, index: int, span: Span) -> Pointer | Runtime:
    """Return the address of a field of a struct in memory."""
    address, type_ = base.address, base.type
    if address is None or not isinstance(type_, t.StructType):
        fail(
            "not-assignable",
            "only variables and their elements have an address",
            span,
            help="put the value into a `var` first",
        )
    assert isinstance(address.type, t.PointerType)
    offset, is_const = t.field_offset(type_, index), address.type.is_const
    return moved(address, offset, type_.fields[index], is_const=is_const)


def struct_at(address: Pointer | Runtime, span: Span) -> Struct:
    """Return the struct at an address; its fields are variables there, or known values."""
    known: Value = Undefined()
    if isinstance(address, Pointer):
        whole = address.variable
        # The DSDs in a struct variable keep the kind of their first values, as DSD variables do.
        if whole.is_const or isinstance(whole.type, t.StructType):
            known = known_part(address)
    return _struct_at(address, 0, address.type, known, span)


def whole(variable: Variable, span: Span) -> Struct | Variable:
    """Return a variable as an operand: a struct with its fields, any other as itself."""
    if isinstance(variable.type, t.StructType):
        return struct_at(address_of_variable(variable), span)
    return variable


def constant(value: Value, span: Span) -> Value:
    """Return a value with any struct in memory made constant: its parts cannot be assigned to."""
    match value:
        case Struct(_, _, t.StructType() as type_, Pointer() | Runtime() as address):
            return struct_at(moved(address, 0, type_, is_const=True), span)
        case _:
            return value


def _struct_at(
    address: Pointer | Runtime, offset: int, pointer: t.Type, known: Value, span: Span
) -> Struct:
    """Return the struct `offset` bytes behind an address of the type `pointer`."""
    assert isinstance(pointer, t.PointerType)
    type_, is_const = pointer.pointee, pointer.is_const
    assert isinstance(type_, t.StructType)
    is_fixed = isinstance(address, Pointer) and address.variable.is_const
    given = known.fields if isinstance(known, Struct) else (Undefined(),) * len(type_.fields)
    fields: list[Value] = []
    for index, (label, field, value) in enumerate(
        zip(t.labels(type_), type_.fields, given, strict=True)
    ):
        start = offset + t.field_offset(type_, index)
        if isinstance(field, t.StructType):
            part = t.PointerType(field, is_const)
            fields.append(_struct_at(address, start, part, value, span))
        elif is_fixed and not isinstance(value, Undefined):
            fields.append(value)
        else:
            variable = Variable(label, field, value, span, is_const, at=address, offset=start)
            fields.append(variable)
    whole = moved(address, offset, type_, is_const=is_const)
    return Struct(type_.names, tuple(fields), type_, whole)


def known_part(pointer: Pointer) -> Value:
    """Return the initial value of a pointer's target; `Undefined` if it has none."""
    variable = pointer.variable
    return _part(variable.initial, variable.type, pointer.offset, pointer.type.pointee)


def _part(value: Value, type_: t.Type, offset: int, wanted: t.Type) -> Value:
    if not offset and type_ == wanted:
        return value
    match value, type_:
        case Array(_, elements), t.ArrayType(_, element) if t.num_bytes(element):
            index, rest = divmod(offset, t.num_bytes(element))
            if 0 <= index < len(elements):
                return _part(elements[index], element, rest, wanted)
        case Struct(_, fields), t.StructType(_, types):
            for index, field in enumerate(types):
                rest = offset - t.field_offset(type_, index)
                if 0 <= rest < t.num_bytes(field):
                    part = _part(fields[index], field, rest, wanted)
                    if not isinstance(part, Undefined):
                        return part
        case _:
            pass
    return Undefined()
