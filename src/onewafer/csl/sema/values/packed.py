"""Packed structs, and unions whose fields share their bits, as known numbers.

A value is the integer behind it (`types.PackedType`): a field is some of its bits, the first field
of a struct the lowest ones. A value with an address, which only the linker knows, is a `Struct` of
its fields. Run-time values are in `instance.packed_fields`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.faults.names import suggest
from onewafer.csl.sema.values import Number, Scalar, Struct, map_scalar, merge_scalars
from onewafer.csl.sema.values.formats import from_bits, to_bits
from onewafer.csl.sema.values.structs import check_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.csl.sema.values import Value
    from onewafer.csl.syntax import ast
    from onewafer.diagnostics import Span

_QUALIFIERS = ("packed", "extern")


def make_type(
    node: ast.StructType, types: Sequence[t.Type], spans: Sequence[Span]
) -> t.PackedType | None:
    """Return the type of a `packed struct`, `packed union` or `extern union`.

    None: it is no integer but an ordinary struct in memory, namely an `extern union` with an array
    or a struct as a variant, or a packed struct with more bits than two registers.
    """
    if node.qualifier == "packed":
        for type_, span in zip(types, spans, strict=True):
            _check_field(type_, span)
    names = tuple(field.name for field in node.fields)
    made = t.PackedType(names, tuple(types), node, node.is_union, node.qualifier)
    if not node.is_union:
        is_integer = node.qualifier == "packed" and all(map(_has_bits, types))
        return made if is_integer and 0 < t.packed_bits(made) <= t.MAX_RUN_TIME_BITS else None
    has_parts = any(t.field_bits(type_) is None for type_ in types)
    if node.qualifier not in _QUALIFIERS or (node.qualifier == "extern" and has_parts):
        return None
    for type_, span in zip(types, spans, strict=True):
        _check_variant(made, type_, span)
    return made


def _has_bits(type_: t.Type) -> bool:
    return t.field_bits(type_) is not None


def _check_field(type_: t.Type, span: Span) -> None:
    """Fail unless a type can be a field of a packed type."""
    match type_:
        case t.StructType(qualifier="packed"):
            return  # too large for an integer
        case _:
            pass
    if t.field_bits(type_) is None:
        fail(
            "type-mismatch",
            f"a field of a packed struct or union has a number of bits, a `{type_}` has none",
            span,
            help="use numbers, `bool`, enums, pointers, packed structs and packed unions",
        )


def _check_variant(union: t.PackedType, type_: t.Type, span: Span) -> None:
    """Fail unless a variant can share the bits of a packed or `extern` union."""
    bits = t.field_bits(type_)
    if bits is None:
        fail(
            "unsupported-feature",
            f"a `{type_}` cannot share its bits with the other variants of `{union.kind}`",
            span,
            help=f"packed structs of at most {t.MAX_RUN_TIME_BITS} bits can",
        )
    if union.qualifier == "packed" and bits != t.packed_bits(union):
        fail(
            "type-mismatch",
            f"the variants of a packed union have the same number of bits: this has {bits}, "
            f"another {t.packed_bits(union)}",
            span,
            help="fill the smaller one up: `packed struct { value: …, rest: u8 }`",
        )


def field_of(type_: t.PackedType, name: str, span: Span) -> tuple[t.Type, int]:
    """Return the type of a field and its lowest bit, or fail."""
    if name not in type_.names:
        fail(
            "unknown-field",
            f"there is no field `{name}`",
            span,
            notes=(f"the fields are {', '.join(type_.names)}",),
            help=suggest(name, type_.names),
        )
    index = type_.names.index(name)
    return type_.fields[index], t.lowest_bit(type_, index)


def check_given(value: Struct, type_: t.PackedType, span: Span | None) -> None:
    """Fail unless a struct gives all fields of a packed struct, or one variant of a union."""
    given = value.names or ()
    if not type_.is_union:
        check_names(given, type_.names, f"`{type_}`", span)
        return
    if len(given) != 1:
        fail(
            "type-mismatch",
            f"a `{type_}` is given exactly one of its fields, not {len(given)}",
            span,
        )
    others = tuple(name for name in type_.names if name not in given)
    check_names((*given, *others), type_.names, f"`{type_}`", span)


def read(value: Scalar, name: str, span: Span) -> Scalar:
    """Return a field of a known value."""
    assert isinstance(value.type, t.PackedType)
    field, offset = field_of(value.type, name, span)
    if isinstance(field, t.PointerType) and value.type.is_union:
        fail("not-comptime", "the address in a union is not known at compile time", span)
    return map_scalar(value, field, lambda word: _from_field(field, int(word) >> offset))


def with_field(value: Scalar, name: str, field: Value, span: Span) -> Scalar | Struct:
    """Return a known value with a field replaced; `field` has the type of the field."""
    type_ = value.type
    assert isinstance(type_, t.PackedType)
    if isinstance(field, Scalar) or type_.is_union:
        return write(value, name, field, span)
    parts = tuple(field if other == name else read(value, other, span) for other in type_.names)
    return Struct(type_.names, parts, type_)


def split(value: Struct) -> tuple[Scalar, list[tuple[int, Value]]]:
    """Return a known value's numbers as one integer, and its addresses with their lowest bits."""
    type_ = value.type
    assert isinstance(type_, t.PackedType)
    word, addresses = Scalar(type_, 0), list[tuple[int, "Value"]]()
    for index, (name, field) in enumerate(value.items()):
        if isinstance(field, Struct):
            inner, others = split(field)
            addresses += ((t.lowest_bit(type_, index) + bit, address) for bit, address in others)
            word = write(word, name, inner, None)
        elif isinstance(field, Scalar):
            word = write(word, name, field, None)
        else:
            addresses.append((t.lowest_bit(type_, index), field))
    return word, addresses


def write(value: Scalar, name: str, field: Value, span: Span | None) -> Scalar:
    """Return a known integer with a field replaced; fail if the field is an address."""
    assert isinstance(value.type, t.PackedType)
    index = value.type.names.index(name)
    offset, bits = t.lowest_bit(value.type, index), t.field_bits(value.type.fields[index])
    assert bits is not None
    if not isinstance(field, Scalar):
        fail(
            "unsupported-feature",
            f"the address in the field `{name}` is known to the linker only",
            span,
            help="give the field its value in a function",
        )
    mask = (1 << bits) - 1 << offset
    type_ = field.type

    def put(word: Number, number: Number) -> int:
        return (int(word) & ~mask) | (_to_field(type_, number) << offset)

    return merge_scalars(value, field, value.type, put)


def _to_field(type_: t.Type, value: Number) -> int:
    bits = t.field_bits(type_)
    assert bits is not None
    return to_bits(type_, value) & ((1 << bits) - 1)


def _from_field(type_: t.Type, word: int) -> Number:
    bits = t.field_bits(type_)
    assert bits is not None
    low = word & ((1 << bits) - 1)
    match type_:
        case t.EnumType(base):
            return base.wrap(low)
        case t.BOOL:
            return bool(low)
        case _:
            return from_bits(type_, low)
