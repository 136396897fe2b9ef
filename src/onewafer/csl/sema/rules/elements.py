"""Elements of arrays and tuples, and of the targets of pointers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.rules.addresses import expect_pointer, known_at
from onewafer.csl.sema.rules.indices import flat_index
from onewafer.csl.sema.values import (
    Array,
    Pointer,
    Runtime,
    Struct,
    Value,
    Variable,
    conversions,
    not_comptime,
    type_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.diagnostics import Span


def element(container: Value, indices: Sequence[Value], span: Span) -> Value:
    """Return `container[indices]` of a comptime array, tuple or constant behind a pointer."""
    match container:
        case Array(type_, elements):
            index = flat_index(type_.dimensions, indices, span, f"`{type_}`")
            return elements[conversions.forced_integer(index, span, "index")]
        case Struct(None, fields):
            (number,) = (conversions.forced_integer(i, span, "an index") for i in indices)
            if not 0 <= number < len(fields):
                fail(
                    "index-out-of-range",
                    f"index {number} is outside of a tuple of {len(fields)}",
                    span,
                )
            return fields[number]
        case Pointer(_, variable) if variable.is_const:
            return known_at(element_pointer(container, indices, span), span)
        case Variable() | Runtime() | Pointer():
            not_comptime(container, span)
        case _:
            fail("type-mismatch", f"a value of type `{type_of(container)}` cannot be indexed", span)


def element_pointer(base: Value, indices: Sequence[Value], span: Span) -> Pointer:
    """Return the address of an element of a comptime-known array."""
    pointer = expect_pointer(base, span)
    element_type, dimensions = indexed(pointer.type, span)
    if dimensions is None:
        index = conversions.integer(indices[0], span, "an index")
    else:
        index = flat_index(dimensions, indices, span, f"`{pointer.type.pointee}`")
    number = conversions.forced_integer(index, span, "address")
    type_ = t.PointerType(element_type, pointer.type.is_const)
    offset = pointer.offset + number * t.num_bytes(element_type)
    return Pointer(type_, pointer.variable, offset, pointer.reach)


def indexed(pointer: t.PointerType, span: Span) -> tuple[t.Type, tuple[int, ...] | None]:
    """Return element type and dimensions (None: unknown length) of a pointer's target."""
    match pointer:
        case t.PointerType(pointee, _, True):
            return pointee, None
        case t.PointerType(t.ArrayType(dimensions, element_type)):
            return element_type, dimensions
        case _:
            fail(
                "type-mismatch",
                f"a value of type `{pointer}` cannot be indexed",
                span,
                help="it leads to one value, `p.*`; if more follow: "
                f"`@ptrcast([*]{pointer.pointee}, p)`",
            )
