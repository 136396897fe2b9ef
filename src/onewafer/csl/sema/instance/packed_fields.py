"""Fields of packed structs, and variants of unions, at run time: bits of a word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from onewafer.csl import ir
from onewafer.csl.sema import types as t
from onewafer.csl.sema.instance import narrow
from onewafer.csl.sema.instance.constants import constant
from onewafer.csl.sema.values import Runtime, Scalar, Struct, Value, packed
from onewafer.image import Opcode, ScalarType

if TYPE_CHECKING:
    from onewafer.diagnostics import Span


Path = tuple[str, ...]
"""Names of nested fields, outermost first."""


class Converter(Protocol):
    """Converts run-time values: the `Analyzer`, without an import of it."""

    def coerce(self, value: Value, type_: t.Type, span: Span, what: str = "") -> Value:
        """Return `value` as `type_` if the language converts it by itself, or fail."""
        ...

    def expression(self, value: Value, span: Span) -> ir.Expression:
        """Return a value of a run-time type as IR."""
        ...


def compose(a: Converter, value: Struct, type_: t.PackedType, span: Span) -> Value:
    """Pack a struct into a word: known fields as one constant, the others by run-time shifts."""
    packed.check_given(value, type_, span)
    result = Scalar(type_, 0)
    waiting: list[tuple[str, ir.Expression]] = []
    for name, given in value.items():
        field, _ = packed.field_of(type_, name, span)
        coerced = a.coerce(given, field, span, f"the field `{name}`")
        if isinstance(coerced, Scalar):
            result = packed.write(result, name, coerced, span)
        else:
            waiting.append((name, a.expression(coerced, span)))
    if not waiting:
        return result
    held = _held(type_, span)
    word = a.expression(result, span) if result.value or result.taint is not None else None
    for name, expression in waiting:
        field, offset = packed.field_of(type_, name, span)
        part = _placed(held, field, offset, expression)
        word = part if word is None else ir.Binary(Opcode.OR, held, word, part)
    assert word is not None
    return Runtime(type_, word)


def composed(a: Converter, value: Struct, type_: t.PackedType, span: Span) -> ir.Expression:
    """Return a packed struct whose fields are known, addresses among them, as IR."""
    return a.expression(compose(a, value, type_, span), span)


def read(value: Value, name: str, span: Span) -> Runtime:
    """Return `value.name` of a packed value that only run time knows."""
    assert isinstance(value, Runtime)
    assert isinstance(value.type, t.PackedType)
    field, offset = packed.field_of(value.type, name, span)
    return Runtime(field, _taken(_held(value.type, span), value.expression, field, offset, span))


def part_of(type_: t.PackedType, path: Path, span: Span) -> tuple[t.Type, int]:
    """Return the type of the field at `path`, and its lowest bit in the whole."""
    part: t.Type = type_
    total = 0
    for name in path:
        assert isinstance(part, t.PackedType)
        part, offset = packed.field_of(part, name, span)
        total += offset
    return part, total


def extract(type_: t.PackedType, word: ir.Expression, path: Path, span: Span) -> Runtime:
    """Return the field at `path` of a packed word."""
    part, offset = part_of(type_, path, span)
    return Runtime(part, _taken(_held(type_, span), word, part, offset, span))


def insert(
    type_: t.PackedType,
    word: ir.Expression,
    path: Path,
    value: ir.Expression,
    span: Span,
) -> ir.Expression:
    """Return a packed word with the field at `path` replaced by `value`."""
    part, offset = part_of(type_, path, span)
    held, bits = _held(type_, span), t.field_bits(part)
    assert bits is not None
    placed = _placed(held, part, offset, value)
    if bits == t.packed_bits(type_):
        return placed
    others = (1 << t.packed_bits(type_)) - 1 & ~((1 << bits) - 1 << offset)
    rest = ir.Binary(Opcode.AND, held, word, constant(held, others))
    return ir.Binary(Opcode.OR, held, rest, placed)


def _held(type_: t.Type, span: Span) -> ir.NumberType:
    held = t.register_type(type_)
    return held if held is not None else narrow.too_wide(type_, span)


def _placed(held: ir.NumberType, field: t.Type, offset: int, value: ir.Expression) -> ir.Expression:
    """Return a word that is zero but for the bits of a field, which begin at `offset`."""
    bits = t.unsigned_of(field)
    part = t.register_type(bits)
    assert part is not None
    word = narrow.reinterpreted(field, bits, value)
    if part is not held:
        word = ir.Convert(part, held, word)
    return _shifted(Opcode.SHL, held, word, offset)


def _taken(
    held: ir.NumberType, word: ir.Expression, field: t.Type, offset: int, span: Span
) -> ir.Expression:
    """Return the field of a word that begins at bit `offset`, in the register of its own type."""
    bits = t.unsigned_of(field)
    part = _held(bits, span)
    low = _shifted(Opcode.SHR, held, word, offset)
    if part is not held:
        low = ir.Convert(held, part, low)
    if field is t.BOOL or t.is_narrow(bits):
        low = ir.Binary(Opcode.AND, part, low, constant(part, bits.maximum))
    return narrow.reinterpreted(bits, field, low)


def _shifted(opcode: Opcode, held: ir.NumberType, word: ir.Expression, count: int) -> ir.Expression:
    amount = ir.Immediate(ScalarType.U16, count)
    return ir.Binary(opcode, held, word, amount) if count else word
