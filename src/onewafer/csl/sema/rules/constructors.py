"""Array, enum and struct types, and their literals, for both evaluators."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl.sema import rules
from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.values import Array, TypeValue, Value, conversions, packed
from onewafer.diagnostics import Annotation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from onewafer.csl.syntax import ast
    from onewafer.diagnostics import Span

MAX_ELEMENTS = 1 << 24
"""Limit of the elements of one array, or of the fields of all its structs, at compile time.

It keeps a mistaken length from filling memory.
"""
MAX_FIELDS = 1 << 12
"""Limit of the fields of one struct, those of nested structs included."""


def check_distinct(fields: Sequence[ast.StructField]) -> None:
    """Fail if two fields of a struct literal have one name."""
    seen: set[str] = set()
    for field in fields:
        if field.name in seen:
            fail("duplicate-declaration", f"field `{field.name}` is given twice", field.span)
        seen.add(field.name)


def array_type(
    sizes: Sequence[Value], spans: Sequence[Span], element_value: Value, span: Span
) -> TypeValue:
    """Return `[sizes]element`."""
    element_type = rules.expect_type(element_value, span)
    if isinstance(element_type, t.ArrayType):
        fail(
            "type-mismatch",
            "the element of an array is not an array",
            span,
            help="write the dimensions together: `[n, m]T`",
        )
    dimensions: list[int] = []
    for size, place in zip(sizes, spans, strict=True):
        number = conversions.forced_integer(size, place, "array length")
        if number < 0:
            fail("value-out-of-range", f"an array cannot have {number} elements", place)
        dimensions.append(number)
    type_ = t.ArrayType(tuple(dimensions), element_type)
    size = max(type_.num_elements, t.num_parts(type_))
    if size > MAX_ELEMENTS:
        what = "fields" if isinstance(element_type, t.StructType) else "elements"
        fail(
            "value-out-of-range",
            f"an array of {size:,} {what} is more than the compiler holds",
            span,
            notes=(f"the most is {MAX_ELEMENTS:,}, and the memory of a PE is far smaller",),
        )
    return TypeValue(type_)


def enum_type(
    base: Value, members: Sequence[ast.EnumMember], values: Sequence[Value | None], span: Span
) -> TypeValue:
    """Return `enum(base) { members }`; values not given count up, skipping those taken."""
    integer = rules.expect_type(base, span)
    if not isinstance(integer, t.IntegerType):
        fail("type-mismatch", f"an enum is based on a sized integer, not on `{integer}`", span)
    given = {
        m.name: conversions.forced_integer(
            conversions.coerce(v, integer, m.span), m.span, "enum value"
        )
        for m, v in zip(members, values, strict=True)
        if v is not None
    }
    _check_unique(members, given)
    taken, counter = set(given.values()), 0
    numbers: dict[str, int] = {}
    for entry in members:
        if entry.name in numbers:
            fail("duplicate-declaration", f"`{entry.name}` is given twice", entry.span)
        if entry.name in given:
            numbers[entry.name] = given[entry.name]
            continue
        while counter in taken:
            counter += 1
        if counter > integer.maximum:
            fail(
                "value-out-of-range",
                f"`{entry.name}` would be {counter}; the largest `{integer}` is {integer.maximum}",
                entry.span,
                help="take a wider type behind `enum`",
            )
        numbers[entry.name] = counter
        counter += 1
    return TypeValue(t.EnumType(integer, numbers))


def _check_unique(members: Sequence[ast.EnumMember], given: Mapping[str, int]) -> None:
    first: dict[int, ast.EnumMember] = {}
    for entry in members:
        if entry.name not in given:
            continue
        earlier = first.setdefault(given[entry.name], entry)
        if earlier.name != entry.name:
            fail(
                "duplicate-declaration",
                f"`{entry.name}` and `{earlier.name}` have the value {given[entry.name]}",
                entry.span,
                secondary=(Annotation(earlier.span, "given here first"),),
                help="give each member a value of its own; a `const` is another name for one",
            )


def struct_type(
    node: ast.StructType, field_types: Sequence[Value], spans: Sequence[Span]
) -> TypeValue:
    """Return the type that a `struct { … }` makes."""
    seen: set[str] = set()
    for field in node.fields:
        if field.name in seen:
            fail("duplicate-declaration", f"field `{field.name}` is given twice", field.span)
        seen.add(field.name)
    types = tuple(rules.expect_type(v, span) for v, span in zip(field_types, spans, strict=True))
    made = packed.make_type(node, types, spans)
    if made is not None:
        return TypeValue(made)
    if node.qualifier == "extern":
        for type_, span in zip(types, spans, strict=True):
            check_exportable(type_, span)
    names = tuple(field.name for field in node.fields)
    struct = t.StructType(names, types, node, node.is_union, node.qualifier or "")
    if sum(1 for _ in t.leaves(struct)) > MAX_FIELDS:
        fail(
            "value-out-of-range",
            f"a struct of more than {MAX_FIELDS:,} fields, with those of structs in it, is more "
            "than the compiler holds",
            node.span,
            help="let an array hold the structs: `[n]T`",
        )
    return TypeValue(struct)


def check_exportable(type_: t.Type, span: Span) -> None:
    """Fail unless C has a type for a field of an `extern struct` or `extern union`."""
    match type_:
        case t.ArrayType(_, element):
            check_exportable(element, span)
            return
        case t.StructType(qualifier="extern") | t.PointerType():
            return
        case t.StructType():
            advice = "make it an `extern struct` too"
        case _ if t.is_narrow(type_):
            advice = "take 8, 16, 32 or 64 bits"
        case _ if t.num_bytes(type_) and type_ not in t.DSDS:
            return
        case _:
            advice = "use numbers, `bool`, enums, pointers, `extern struct`s and arrays of these"
    fail(
        "type-mismatch",
        f"the fields of an `extern` type lie as in C, which has no `{type_}`",
        span,
        help=advice,
    )


def typed_struct(type_: t.Type, span: Span) -> t.StructType | t.PackedType:
    """Return the type of `T{ .a = 1 }`, or fail."""
    if not isinstance(type_, t.StructType | t.PackedType):
        fail("type-mismatch", f"`{type_}` is not a struct type", span)
    return type_


def array_literal(
    type_: t.Type,
    elements: Sequence[Value],
    spans: Sequence[Span],
    span: Span,
    *,
    coerce: Callable[[Value, t.Type, Span, str], Value] = conversions.coerce,
) -> Array:
    """Return `type{ elements }`, each element converted by `coerce`."""
    assert isinstance(type_, t.ArrayType)
    if len(elements) != type_.num_elements:
        fail(
            "type-mismatch",
            f"`{type_}` has {type_.num_elements} elements, {len(elements)} are given",
            span,
        )
    return Array(
        type_,
        [
            coerce(e, type_.element, place, "an element")
            for e, place in zip(elements, spans, strict=True)
        ],
    )
