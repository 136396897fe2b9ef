"""Tables with a row for each token position, added to a value or multiplied with it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from onewafer.graph import Add, Multiply, PositionEmbedding
from onewafer.pytorch.lowering.layout import MATRIX_DIMENSIONS
from onewafer.pytorch.lowering.operands import (
    FormError,
    Polynomial,
    PositionProduct,
    Shifted,
    Value,
)
from onewafer.pytorch.lowering.sequences import of_one_sequence
from onewafer.pytorch.lowering.writer import write

if TYPE_CHECKING:
    from onewafer.graph import Tensor
    from onewafer.pytorch.lowering.operands import External
    from onewafer.pytorch.lowering.writer import GraphWriter


def _position_rows(writer: GraphWriter, table: External, value: Value) -> Tensor:
    """Return the rows of a table that broadcasts to a whole value, arranged as its matrix.

    A table that is alike for all sequences is stored for one.
    """
    num_rows, num_features = value.tensor.shape
    if len(table.shape) == len(value.shape) > MATRIX_DIMENSIONS:
        table = of_one_sequence(writer, table) or table
    sequences = _num_sequences(value, table.shape)
    writer.note_sequences(sequences)
    name = f"{table.name}__by_position"
    if sequences > 1:
        layout = value.layout.select(0, 0)
        shape = (num_rows // sequences, num_features)
        value = Value(replace(value.tensor, shape=shape), layout)
        rest = table.shape[-len(layout.dimensions) :]
        table = writer.view(table, f"{name}_one", torch.ops.aten.reshape.default, list(rest))
    pieces = [piece for dimension in value.layout.dimensions for piece in dimension]
    order = sorted(range(len(pieces)), key=lambda index: -pieces[index][1])
    aten = torch.ops.aten
    full = writer.view(table, f"{name}_full", aten.expand.default, list(value.shape))
    cut = writer.view(full, f"{name}_cut", aten.reshape.default, [size for size, _ in pieces])
    transposed = writer.view(cut, f"{name}_turned", aten.permute.default, order)
    rows = writer.view(transposed, name, aten.reshape.default, list(value.tensor.shape))
    parameter = writer.parameter(rows, "table")
    result = writer.result(f"{name}_rows", num_rows, num_features)
    writer.emit(PositionEmbedding(result, parameter.name))
    return result


def _num_sequences(value: Value, table: tuple[int, ...]) -> int:
    """Return the number of sequences in a value's rows; 1 if the table differs between them."""
    num_rows, num_features = value.tensor.shape
    if len(value.shape) <= MATRIX_DIMENSIONS:
        return 1
    first = value.layout.dimensions[0]
    is_alike = len(table) < len(value.shape) or table[0] == 1
    count = value.shape[0]
    is_outermost = first == ((count, num_rows // count * num_features),)
    return count if is_alike and is_outermost else 1


@write.register(Shifted)
def _(shifted: Shifted, writer: GraphWriter) -> Value:
    """Write the sum of a value and the rows of a table."""
    source = writer.whole(shifted.value)
    rows = _position_rows(writer, shifted.table, source)
    sum_ = writer.result(f"{source.tensor.name}_shifted", *source.tensor.shape)
    writer.emit(Add(sum_, source.tensor.name, rows.name))
    return Value(sum_, source.layout)


@write.register(PositionProduct)
def _(product: PositionProduct, writer: GraphWriter) -> Value:
    """Write the product of a value and the rows of a table; one of partners has no operation."""
    if product.swapped is not None:
        raise FormError(product)
    value, factor = product.value, product.factor
    scaled = value if factor == 1 else writer.value(Polynomial(value, {1: factor}))
    source = writer.whole(scaled)
    rows = _position_rows(writer, product.table, source)
    result = writer.result(f"{source.tensor.name}_at_positions", *source.tensor.shape)
    writer.emit(Multiply(result, source.tensor.name, rows.name))
    return Value(result, source.layout)
