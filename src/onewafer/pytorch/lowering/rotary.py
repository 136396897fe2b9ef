"""Rotary positions: `x · cos + partners(x) · sin` over the features of every head.

Features are rotated in pairs, (a, b) to (a · cos − b · sin, b · cos + a · sin). Models pair the
halves of a head, as Llama does, or neighbours, as GPT-J does, and some rotate only the beginning of
a head and join it with the rest: the rest has angles of 0 here.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from onewafer.errors import UnsupportedOperationError
from onewafer.graph import Rotary
from onewafer.pytorch.lowering.features import is_of_rows
from onewafer.pytorch.lowering.layout import Layout
from onewafer.pytorch.lowering.operands import (
    External,
    HalfRotated,
    Partners,
    Polynomial,
    PositionProduct,
    Rotated,
    StackedPartners,
    Value,
)
from onewafer.pytorch.lowering.writer import write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.pytorch.lowering.operands import Operand
    from onewafer.pytorch.lowering.registry import Call
    from onewafer.pytorch.lowering.writer import GraphWriter

_PAIR = 2


def swap_halves(parts: Sequence[Operand]) -> Partners | None:
    """Return `Partners` if the parts are the negated second and the first half of a value."""
    found = _negated_and_plain(parts)
    if found is None:
        return None
    second, first, factor = found
    half = first.shape[-1]
    whole = _join(first, second)
    if whole is None or second.shape[-1] != half:
        return None
    return Partners(replace(first, layout=whole), _PAIR * half, factor)


def stack_neighbours(parts: Sequence[Operand]) -> StackedPartners | None:
    """Return `Partners` if the parts are the negated odd and the even features of a value."""
    found = _negated_and_plain(parts)
    if found is None:
        return None
    odd, even, factor = found
    *rest, last = even.layout.dimensions
    count = even.shape[-1]
    if last not in ((), ((count, _PAIR),)):
        return None
    whole = Layout((*rest, ((_PAIR * count, 1),)), even.layout.offset)
    parts_of_whole = [whole.every(len(rest), start, _PAIR) for start in range(_PAIR)]
    if parts_of_whole != [even.layout, odd.layout]:
        return None
    return StackedPartners(Partners(replace(even, layout=whole), 0, factor))


def _negated_and_plain(parts: Sequence[Operand]) -> tuple[Value, Value, float] | None:
    """Return (a, b, c) if the parts are −c · a and c · b, and a and b are of one matrix."""
    match parts:
        case [Polynomial(negated, minus), Value() | Polynomial() as other] if {*minus} == {1}:
            pass
        case _:
            return None
    plain, factor = _multiple_of(other)
    if (negated.tensor, negated.is_wide) != (plain.tensor, plain.is_wide) or minus[1] != -factor:
        return None
    return negated, plain, factor


def _multiple_of(operand: Value | Polynomial) -> tuple[Value, float]:
    """Return a value and the factor by which it is multiplied; 0 if an operand is no multiple."""
    if isinstance(operand, Value):
        return operand, 1.0
    return operand.value, operand.terms[1] if {*operand.terms} == {1} else 0.0


def _join(first: Value, second: Value) -> Layout | None:
    """Return the layout of parts that are adjacent along the last dimension; None: they are not."""
    *rest, last = first.layout.dimensions
    begin, end = first.shape[-1], second.shape[-1]
    if last not in ((), ((begin, 1),)):
        return None
    whole = Layout((*rest, ((begin + end, 1),)), first.layout.offset)
    axis = len(rest)
    parts = whole.slice(axis, 0, begin), whole.slice(axis, begin, end)
    return whole if parts == (first.layout, second.layout) else None


def times_table(
    call: Call, operand: Value | Polynomial | Partners, table: External
) -> PositionProduct:
    """Return the form of a product with a table whose rows depend on the position only."""
    match operand:
        case Partners(value, swapped, factor):
            pass
        case Value() | Polynomial():
            (value, factor), swapped = _multiple_of(operand), None
    if value.shape != call.shape:
        raise call.unsupported(f"broadcasting over a table of {table.shape} is not supported")
    if not factor:
        raise call.unsupported("multiplying a polynomial by a table is not supported")
    return PositionProduct(value, swapped, table, factor)


def add_products(
    writer: GraphWriter, call: Call, left: PositionProduct, right: PositionProduct
) -> Rotated | HalfRotated | Polynomial:
    """Return the rotation, a half or a multiple of one, that the sum of these products is."""
    if left.swapped is None and right.swapped is None and left.value != right.value:
        return HalfRotated(left, right)
    plain, partners = (right, left) if right.swapped is None else (left, right)
    is_one = (plain.value, plain.factor) == (partners.value, partners.factor)
    if plain.swapped is not None or partners.swapped is None or not is_one:
        raise call.unsupported(
            "a sum of two products with tables is supported only as a rotary embedding"
        )
    rotated = Rotated(plain.value, partners.swapped, plain.table, partners.table)
    if plain.factor == 1:
        return rotated
    return Polynomial(writer.value(rotated), {1: plain.factor})


def join_halves(writer: GraphWriter, parts: Sequence[Operand]) -> Rotated | None:
    """Return the rotation whose halves these are: `a · cos − b · sin` and `b · cos + a · sin`."""
    match parts:
        case [HalfRotated() as first, HalfRotated() as second]:
            pass
        case _:
            return None
    products = {(id(p.table), p.factor): p.value for p in (first.left, first.right)}
    others = {(id(p.table), p.factor): p.value for p in (second.left, second.right)}
    cosine, sine = (
        next((p.table for p in (first.left, first.right) if p.factor == factor), None)
        for factor in (1.0, -1.0)
    )
    if cosine is None or sine is None:
        return None
    one, other = products[id(cosine), 1.0], products[id(sine), -1.0]
    expected = {(id(cosine), 1.0): other, (id(sine), 1.0): one}
    whole = _join(one, other) if one.tensor == other.tensor else None
    if others != expected or whole is None or one.is_wide != other.is_wide:
        return None
    tables = (
        writer.tensor(f"{table.name}__twice", torch.ops.aten.cat.default, [table, table], -1)
        for table in (cosine, sine)
    )
    return Rotated(replace(one, layout=whole), _PAIR * one.shape[-1], *tables)


def extend(writer: GraphWriter, parts: Sequence[Operand]) -> Rotated | None:
    """Return the rotation of whole heads, given their rotated beginnings and the other features."""
    match parts:
        case [Rotated(value, swapped, cosine, sine), Value() as rest]:
            pass
        case _:
            return None
    if value.tensor != rest.tensor:
        return None
    whole, count = _join(value, rest), rest.shape[-1]
    features = value.shape[-1]
    is_by_feature = cosine.shape[-1:] == sine.shape[-1:] == (features,)
    if whole is None or count % _PAIR or not is_by_feature or value.is_wide != rest.is_wide:
        return None
    aten, margins = torch.ops.aten.constant_pad_nd.default, [0, count]
    return Rotated(
        replace(value, layout=whole),
        swapped,
        writer.view(cosine, f"{cosine.name}__{features + count}", aten, margins, 1.0),
        writer.view(sine, f"{sine.name}__{features + count}", aten, margins, 0.0),
    )


@write.register(Rotated)
def _(rotated: Rotated, writer: GraphWriter) -> Value:
    """Write a rotation; raise UnsupportedOperationError if the wafer cannot."""
    source = writer.whole(replace(rotated.value, is_wide=False))
    features, num_features = source.shape[-1], source.tensor.shape[1]
    is_head = source.layout.dimensions[-1] == ((features, 1),)
    rows = [index for index in range(len(source.shape)) if is_of_rows(source, index)]
    others = [
        stride
        for index, pieces in enumerate(source.layout.dimensions[:-1])
        if index not in rows
        for _, stride in pieces
    ]
    rows.sort(key=lambda index: source.layout.dimensions[index][0][1])
    sequences = math.prod(source.shape[index] for index in rows[1:])
    if not is_head or any(stride % features for stride in others):
        msg = "the last dimension is not one contiguous head of features"
        raise UnsupportedOperationError(msg)
    row = rows[0] if rows else None
    writer.note_sequences(sequences)
    cosine, sine = (
        writer.parameter(_table(writer, table, source, row), "table")
        for table in (rotated.cosine, rotated.sine)
    )
    result = writer.result(f"{source.tensor.name}_rotated", *source.tensor.shape)
    swapped = None if rotated.swapped == features else rotated.swapped
    heads = num_features // features
    writer.emit(Rotary(result, source.tensor.name, cosine.name, sine.name, heads, swapped))
    return Value(result, source.layout, is_wide=rotated.value.is_wide)


def _table(writer: GraphWriter, table: External, value: Value, row: int | None) -> External:
    """Return a table of shape (positions, features of a head)."""
    shape = (1,) * (len(value.shape) - len(table.shape)) + table.shape
    rows = 1 if row is None else value.shape[row]
    expected = [1] * len(shape)
    expected[-1] = value.shape[-1]
    if row is not None:
        expected[row] = rows
    if list(shape) != expected:
        msg = f"a table of shape {table.shape} has no row for each position"
        raise UnsupportedOperationError(msg)
    name = f"{table.name}__table"
    return writer.view(table, name, torch.ops.aten.reshape.default, [rows, expected[-1]])
