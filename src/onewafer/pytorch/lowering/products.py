"""Products with stored weights, with a vector added to them; products of two tensors."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from onewafer.errors import UnsupportedOperationError
from onewafer.graph import AddBias, BatchedMatmul, Linear, Softmax
from onewafer.pytorch.lowering.layout import MATRIX_DIMENSIONS
from onewafer.pytorch.lowering.masks import read_table
from onewafer.pytorch.lowering.operands import (
    Polynomial,
    Probabilities,
    Scores,
    Shifted,
    Value,
    see_in_order,
)
from onewafer.pytorch.lowering.writer import write

if TYPE_CHECKING:
    from onewafer.graph import Tensor
    from onewafer.pytorch.lowering.operands import Operand
    from onewafer.pytorch.lowering.registry import Call
    from onewafer.pytorch.lowering.writer import GraphWriter


def multiply(
    writer: GraphWriter, call: Call, rows: Tensor, weight: Tensor, *, bias: Operand | None
) -> Tensor:
    """Write a linear operation, with a stored vector added if there is one."""
    product = name_product(writer, call, (rows.shape[0], weight.shape[0]), bias=bias)
    writer.emit(Linear(product, rows.name, weight.name))
    return add_bias(writer, call, product, bias)


def name_product(
    writer: GraphWriter, call: Call, shape: tuple[int, int], *, bias: Operand | None
) -> Tensor:
    """Return the tensor for a product (rows, features); with a bias it is not the call's result."""
    name = call.node.name
    return writer.result(name if bias is None else f"{name}_product", *shape)


def add_bias(writer: GraphWriter, call: Call, rows: Tensor, bias: Operand | None) -> Tensor:
    """Write the sum of rows and a stored vector, as the result of a call; None adds nothing."""
    if bias is None:
        return rows
    vector = writer.parameter(bias, "bias")
    if vector.shape != rows.shape[-1:]:
        raise call.unsupported(
            f"a bias of shape {vector.shape} does not fit {rows.shape[-1]} features"
        )
    result = writer.result(call.node.name, *rows.shape)
    writer.emit(AddBias(result, rows.name, vector.name))
    return result


def multiply_tensors(writer: GraphWriter, name: str, left: Value, right: Value) -> Value:
    """Write the product of `left` `[…, m, k]` and `right` `[…, k, n]`.

    Raises UnsupportedOperationError if one is seen across the rows or the features of its matrix.
    """
    _refuse_counts(writer, "a product of two tensors")
    leading = len(left.shape) - MATRIX_DIMENSIONS
    if left.shape[:leading] != right.shape[:-2] or left.shape[-1] != right.shape[-2]:
        msg = f"a product of shapes {left.shape} and {right.shape} is not supported"
        raise UnsupportedOperationError(msg)
    samples = [index for index in range(leading) if left.goes_over_rows(index)]
    groups = [index for index in range(leading) if index not in samples]
    first, second = leading, leading + 1
    is_transposed = right.goes_over_rows(second)
    over_rows, over_features = (second, first) if is_transposed else (first, second)
    left_matrix = writer.matrix(replace(left, is_wide=False), [*samples, first], [*groups, second])
    right_matrix = writer.matrix(
        replace(right, is_wide=False), [*samples, over_rows], [*groups, over_features]
    )
    sizes = left.shape[:-1] + right.shape[-1:]
    count = math.prod(sizes[index] for index in groups)
    writer.note_samples(math.prod(sizes[index] for index in samples))
    result = writer.result(name, left_matrix.shape[0], count * sizes[-1])
    operands = left_matrix.name, right_matrix.name
    writer.emit(BatchedMatmul(result, *operands, count, sizes[first], is_transposed))
    seen = see_in_order(result, sizes, [*samples, first, *groups, second])
    return replace(seen, is_wide=left.is_wide or right.is_wide)


def _refuse_counts(writer: GraphWriter, what: str) -> None:
    """Refuse in a graph for counts, which is asked for any number of rows: it gets `Opaque`."""
    if writer.for_counts:
        raise UnsupportedOperationError(f"{what} is counted as PyTorch does it")


@write.register(Scores)
def write_scores(scores: Scores, writer: GraphWriter, *, may_hide: bool = False) -> Value:
    """Write the products of queries and keys, scaled and with what masks add.

    Raises UnsupportedOperationError if masks hide keys, unless they may.
    """
    query, key = scores.query, scores.key
    transposed = replace(key, layout=key.layout.permute((0, 1, 3, 2)))
    product = multiply_tensors(writer, f"{query.tensor.name}_scores", query, transposed)
    scaled = writer.value(Polynomial(product, {1: scores.scale})) if scores.scale != 1 else product
    table = read_table(writer, scores, may_hide=may_hide)
    if table is not None:
        scaled = writer.value(Shifted(scaled, table))
    layout = scaled.layout.reshape(scores.shape)
    assert layout is not None, "a dimension of size 1 cuts nothing"  # invariant
    return replace(scaled, layout=layout, is_wide=product.is_wide)


@write.register(Probabilities)
def _(probabilities: Probabilities, writer: GraphWriter) -> Value:
    """Write the softmax of scores."""
    scores = write_scores(probabilities.scores, writer, may_hide=True)
    return write_softmax(writer, f"{probabilities.scores.query.tensor.name}_shares", scores)


def write_softmax(writer: GraphWriter, name: str, value: Value) -> Value:
    """Write the softmax of a value over its last dimension, a group of features.

    Raises UnsupportedOperationError if it is none.
    """
    _refuse_counts(writer, "a softmax")
    source = writer.whole(replace(value, is_wide=False))
    groups = source.count_groups()
    result = writer.result(name, *source.tensor.shape)
    writer.emit(Softmax(result, source.tensor.name, groups))
    return Value(result, source.layout, is_wide=value.is_wide)
