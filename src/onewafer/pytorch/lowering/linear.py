"""Products with stored weights."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from onewafer.pytorch.lowering.convolution import multiply_feature_maps
from onewafer.pytorch.lowering.layout import MATRIX_DIMENSIONS, Layout
from onewafer.pytorch.lowering.operands import External, Origin, Value, see
from onewafer.pytorch.lowering.products import multiply, multiply_tensors
from onewafer.pytorch.lowering.registry import lowers
from onewafer.pytorch.lowering.softmax import multiply_values

if TYPE_CHECKING:
    from onewafer.graph import Tensor
    from onewafer.pytorch.lowering.operands import Operand
    from onewafer.pytorch.lowering.registry import Call
    from onewafer.pytorch.lowering.writer import GraphWriter


@lowers("linear.default")
def _lower_linear(writer: GraphWriter, call: Call) -> Operand:
    bias = call.optional(2, "bias")
    whole = multiply_feature_maps(writer, call, call.operand(0), call.operand(1), bias=bias)
    if whole is not None:
        return whole
    value = writer.value(call.operand(0))
    weight = writer.parameter(call.operand(1), "weight")
    order = _order_of_rows(value)
    if order is None:
        rows = writer.rows(value)
        return see(multiply(writer, call, rows, weight, bias=bias), call.shape)
    rows = writer.matrix(order, (0,), (1,))
    product = multiply(writer, call, rows, weight, bias=bias)
    return Value(product, _like(value.layout, value.tensor.shape[1], product.shape[1]))


def _order_of_rows(value: Value) -> Value | None:
    """Return a value with its rows in the order of its matrix; None: they are, or some are missing.

    Rows are in another order where samples and tokens were transposed.
    """
    num_rows, num_features = value.tensor.shape
    rows = value.layout.steps(*range(len(value.shape) - 1))
    is_order = len(rows) == num_rows and not (rows % num_features).any()
    if not is_order or (np.diff(rows) > 0).all() or len(np.unique(rows)) < num_rows:
        return None
    dimensions = ((num_rows, num_features),), value.layout.dimensions[-1]
    return replace(value, layout=Layout(dimensions, value.layout.offset % num_features))


def _like(layout: Layout, features: int, others: int) -> Layout:
    """Return a layout with the same order of rows and another number of features."""
    rows = tuple(
        tuple((size, stride // features * others) for size, stride in pieces)
        for pieces in layout.dimensions[:-1]
    )
    last = Layout.of_matrix((others,)).dimensions
    return Layout((*rows, *last), layout.offset // features * others)


@lowers("addmm.default")
def _lower_addmm(writer: GraphWriter, call: Call) -> Operand:
    if call.constant(3, "beta", 1) != 1 or call.constant(4, "alpha", 1) != 1:
        raise call.unsupported("alpha or beta other than 1 is not supported")
    rows = writer.rows(call.operand(1))
    weight = transposed(writer, call, call.operand(2))
    return see(multiply(writer, call, rows, weight, bias=call.operand(0)), call.shape)


@lowers("mm.default", "matmul.default", "bmm.default")
def _lower_matmul(writer: GraphWriter, call: Call) -> Operand:
    attention = multiply_values(writer, call, call.operand(0), call.operand(1))
    if attention is not None:
        return attention
    tensors = _two_tensors(writer, call)
    if tensors is not None:
        return multiply_tensors(writer, call.node.name, *tensors)
    rows = writer.rows(call.operand(0))
    weight = transposed(writer, call, call.operand(1))
    return see(multiply(writer, call, rows, weight, bias=None), call.shape)


def _two_tensors(writer: GraphWriter, call: Call) -> tuple[Value, Value] | None:
    """Return both operands as values where neither is a stored weight; None if one is."""
    left, right = call.operand(0), call.operand(1)
    if isinstance(right, External) and right.origin is not Origin.DATA:
        return None
    return writer.value(left), writer.value(right)


def transposed(writer: GraphWriter, call: Call, weight: Operand) -> Tensor:
    """Return a stored weight of shape (in features, out features) as a parameter (out, in)."""
    if isinstance(weight, External):
        if len(weight.shape) != MATRIX_DIMENSIONS:
            raise call.unsupported(
                f"a weight of shape {weight.shape} is not supported; it must be a matrix"
            )
        name = f"{weight.name}__transposed"
        weight = writer.view(weight, name, torch.ops.aten.transpose.int, 0, 1)
    return writer.parameter(weight, "weight")
