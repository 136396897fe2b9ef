"""Rotary positions: `x · cos + (−x₂, x₁) · sin` over the two halves of every head."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from onewafer.graph import Rotary
from onewafer.pytorch.lowering.layout import Layout
from onewafer.pytorch.lowering.operands import (
    External,
    Polynomial,
    PositionProduct,
    SwappedHalves,
    Value,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.pytorch.lowering.operands import Operand
    from onewafer.pytorch.lowering.registry import Call
    from onewafer.pytorch.lowering.writer import GraphWriter


def swap_halves(call: Call, parts: Sequence[Operand], dimension: int) -> SwappedHalves | None:
    """Return the value whose negated second half and first half these parts are, if they are."""
    match parts:
        case [Polynomial(second, terms), Value() as first] if terms == {1: -1.0}:
            pass
        case _:
            return None
    if dimension != len(call.shape) - 1 or first.tensor != second.tensor:
        return None
    half = first.shape[-1]
    whole = _join(first, second, half)
    return None if whole is None else SwappedHalves(replace(first, layout=whole))


def _join(first: Value, second: Value, half: int) -> Layout | None:
    """Return the layout whose halves along the last dimension two others are."""
    *rest, last = first.layout.dimensions
    if last not in ((), ((half, 1),)):
        return None
    whole = Layout((*rest, ((2 * half, 1),)), first.layout.offset)
    end = len(rest)
    halves = whole.slice(end, 0, half), whole.slice(end, half, half)
    return whole if halves == (first.layout, second.layout) else None


def times_table(call: Call, operand: Operand, table: External) -> PositionProduct:
    """Note a product with a table whose rows depend on the position only."""
    value = operand.value if isinstance(operand, SwappedHalves) else operand
    if not isinstance(value, Value) or value.shape != call.shape:
        raise call.unsupported(f"it broadcasts a value over {table.shape}")
    return PositionProduct(value, isinstance(operand, SwappedHalves), table)


def add_products(
    writer: GraphWriter, call: Call, left: PositionProduct, right: PositionProduct
) -> Value:
    """Write the rotation that the sum of these products is."""
    plain, swapped = (left, right) if right.is_swapped else (right, left)
    if plain.is_swapped or not swapped.is_swapped or plain.value != swapped.value:
        raise call.unsupported("it adds two products that are not a rotation of one value")
    source = writer.whole(replace(plain.value, is_wide=False))
    features, num_features = source.shape[-1], source.tensor.shape[1]
    is_head = source.layout.dimensions[-1] == ((features, 1),)
    rows = [
        index
        for index, pieces in enumerate(source.layout.dimensions)
        if pieces and all(stride % num_features == 0 for _, stride in pieces)
    ]
    others = [
        stride
        for index, pieces in enumerate(source.layout.dimensions[:-1])
        if index not in rows
        for _, stride in pieces
    ]
    if len(rows) > 1:
        raise call.unsupported(
            "it rotates rows of several sequences; the wafer takes one at a time"
        )
    if not is_head or any(stride % features for stride in others):
        raise call.unsupported("the last dimension is not a head of features next to each other")
    row = rows[0] if rows else None
    tables = [_table(writer, call, product.table, source, row) for product in (plain, swapped)]
    cosine, sine = (writer.parameter(table, "table") for table in tables)
    result = writer.result(call.node.name, *source.tensor.shape)
    heads = num_features // features
    writer.emit(Rotary(result, source.tensor.name, cosine.name, sine.name, heads))
    return Value(result, source.layout, is_wide=plain.value.is_wide)


def _table(
    writer: GraphWriter, call: Call, table: External, value: Value, row: int | None
) -> External:
    """Return a table of shape (positions, features of a head)."""
    shape = (1,) * (len(value.shape) - len(table.shape)) + table.shape
    rows = value.tensor.shape[0]
    expected = [1] * len(shape)
    expected[-1] = value.shape[-1]
    if row is not None:
        expected[row] = rows
    if list(shape) != expected:
        raise call.unsupported(
            f"a table of shape {table.shape} does not go by position and feature"
        )
    name = f"{table.name}__table"
    return writer.view(table, name, torch.ops.aten.reshape.default, [rows, expected[-1]])
