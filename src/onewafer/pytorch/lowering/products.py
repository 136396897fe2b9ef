"""Products with stored weights, and the vector that is added to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.graph import AddBias, Linear

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
    """Return what a product (rows, features) of a call is written to; a bias may follow."""
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
