"""Stores of values in memory, of arrays and structs part by part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl import ir
from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.runtime.temporaries import steady
from onewafer.csl.sema.values import (
    Array,
    Pointer,
    Runtime,
    Struct,
    Undefined,
    Value,
    Variable,
    conversions,
)
from onewafer.csl.sema.values.in_memory import moved, pointer_to
from onewafer.image import Opcode, ScalarType

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onewafer.csl.sema.instance.analyzer import Analyzer
    from onewafer.diagnostics import Span

UNROLLED_ELEMENTS = 8
"""Uniform array initialisers longer than this become a loop, all others single stores."""


def check_stored(a: Analyzer, type_: t.Type, span: Span) -> None:
    """Fail unless a variable has a size and all its parts exist at run time."""
    if isinstance(type_, t.StructType) and not t.num_bytes(type_):
        fail(
            "type-mismatch",
            f"a variable cannot be of type `{type_}`, which has no size at run time",
            span,
            help="declare it with `const`: its value is known",
        )
    for _, leaf in t.leaves(type_):
        match leaf:
            case t.ArrayType(_, element):
                check_stored(a, element, span)
            case _:
                a.ir_type(leaf, span)


def store_value(
    a: Analyzer, pointer: Pointer | Runtime, type_: t.Type, value: Value, span: Span
) -> None:
    """Emit the stores that put `value` at an address."""
    match type_, value:
        case t.StructType(), _:
            store_struct(a, pointer, type_, value, span)
        case t.ArrayType(), Array(_, elements):
            _store_array(a, pointer, type_, elements, span)
        case t.ArrayType(), Variable():
            copy_array(a, pointer, pointer_to(value), type_, span)
        case t.ArrayType(), Pointer() | Runtime(t.PointerType()):
            copy_array(a, pointer, value, type_, span)
        case t.ArrayType(), _:
            fail("unsupported-feature", f"a `{type_}` cannot be assigned like this", span)
        case _:
            held = a.ir_type(type_, span)
            address, offset = address_and_offset(a, pointer, span)
            a.emit(ir.Store(held, address, offset, a.expression(value, span), span))


def _store_array(
    a: Analyzer,
    pointer: Pointer | Runtime,
    type_: t.ArrayType,
    elements: Sequence[Value],
    span: Span,
) -> None:
    step = t.num_bytes(type_.element)
    address = steady(a, a.expression(pointer, span), span)
    start = Runtime(t.PointerType(type_.element), address)
    if len(elements) > UNROLLED_ELEMENTS and all(e is elements[0] for e in elements):

        def fill(offset: ir.Expression) -> None:
            store_value(a, _behind(a, start, offset), type_.element, elements[0], span)

        _loop_elements(a, len(elements), step, span, fill)
        return
    for index, element in enumerate(elements):
        target = moved(start, index * step, type_.element, is_const=False)
        store_value(a, target, type_.element, element, span)


def copy_array(
    a: Analyzer,
    target: Pointer | Runtime,
    source: Pointer | Runtime,
    type_: t.ArrayType,
    span: Span,
) -> None:
    """Copy an array to another address."""
    element = type_.element
    to_start, from_start = (
        Runtime(t.PointerType(element), steady(a, a.expression(address, span), span))
        for address in (target, source)
    )

    def copy(offset: ir.Expression) -> None:
        to, from_ = _behind(a, to_start, offset), _behind(a, from_start, offset)
        if isinstance(element, t.StructType):
            copy_struct(a, a.anchored(to, span), a.anchored(from_, span), element, span)
            return
        word = Runtime(element, ir.Load(a.ir_type(element, span), from_.expression))
        store_value(a, to, element, word, span)

    _loop_elements(a, type_.num_elements, t.num_bytes(element), span, copy)


def _behind(a: Analyzer, start: Runtime, offset: ir.Expression) -> Runtime:
    """Return the address `offset` bytes behind `start`."""
    return Runtime(start.type, a.binary(Opcode.ADD, t.U16, start.expression, offset))


def _loop_elements(
    a: Analyzer, count: int, step: int, span: Span, body: Callable[[ir.Expression], None]
) -> None:
    """Emit a loop over the byte offsets of an array's elements; `body` emits one round."""
    offset = a.new_local("offset", t.U16, is_const=False).local
    read = ir.ReadLocal(offset)
    a.emit(ir.SetLocal(offset, ir.Immediate(ScalarType.U16, 0), span))
    test = a.binary(Opcode.LESS, t.U16, read, ir.Immediate(ScalarType.U16, count * step))
    advance = a.binary(Opcode.ADD, t.U16, read, ir.Immediate(ScalarType.U16, step))
    a.open_block()
    body(read)
    a.emit(ir.Loop(test, a.close_block(), (ir.SetLocal(offset, advance, span),), span))


def store_struct(
    a: Analyzer, target: Pointer | Runtime, type_: t.StructType, value: Value, span: Span
) -> None:
    """Store a struct, one field after the other."""
    if not isinstance(value, Struct):
        conversions.mismatch(value, type_, span)
    target = a.anchored(target, span)
    if is_copy(value, type_) and value.address is not None:
        copy_struct(a, target, a.anchored(value.address, span), type_, span)
        return
    for index, (field_type, field) in enumerate(zip(type_.fields, value.fields, strict=True)):
        if isinstance(field, Undefined):
            continue  # an inactive variant of a union
        address = moved(target, t.field_offset(type_, index), field_type, is_const=False)
        store_value(a, address, field_type, field, span)


def copy_struct(
    a: Analyzer,
    target: Pointer | Runtime,
    source: Pointer | Runtime,
    type_: t.StructType,
    span: Span,
) -> None:
    """Copy a struct to another address; two structs of a type are the same or do not overlap."""
    for offset, leaf in t.leaves(type_):
        to, from_ = (moved(address, offset, leaf, is_const=False) for address in (target, source))
        if isinstance(leaf, t.ArrayType):
            copy_array(a, to, from_, leaf, span)
            continue
        held = a.ir_type(leaf, span)
        base, start = address_and_offset(a, from_, span)
        word = Runtime(leaf, ir.Load(held, base, start))
        store_value(a, to, leaf, word, span)


def is_copy(value: Value, type_: t.Type) -> bool:
    """Tell whether a value is a struct of type `type_` in memory."""
    match value:
        case Struct(address=address) if address is not None:
            return value.type == type_
        case _:
            return False


def address_and_offset(
    a: Analyzer, address: Pointer | Runtime, span: Span
) -> tuple[ir.Expression, int]:
    """Return an address as the base and the constant offset of a load or store."""
    match address:
        case Runtime(_, ir.Binary(Opcode.ADD, _, base, ir.Immediate(_, offset, None))) if (
            offset >= 0
        ):
            return base, offset
        case _:
            return a.expression(address, span), 0
