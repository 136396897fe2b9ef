"""The operations that multiples and powers of a value become."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.graph import Multiply, Scale
from onewafer.pytorch.lowering.operands import FormError, Polynomial, Value
from onewafer.pytorch.lowering.writer import write

if TYPE_CHECKING:
    from onewafer.pytorch.lowering.writer import GraphWriter


@write.register(Polynomial)
def write_polynomial(operand: Polynomial, writer: GraphWriter) -> Value:
    """Compute a multiple of a power; a sum of several has no operation."""
    if 0 in operand.terms:
        number = operand.terms[0]
        raise FormError(
            operand, f"adding the number {number:g} to a computed tensor is not supported"
        )
    if len(operand.terms) != 1:
        raise FormError(operand, "a sum of powers of a tensor is not supported")
    ((exponent, factor),) = operand.terms.items()
    source = writer.whole(operand.value)
    tensor = source.tensor
    for power in range(2, exponent + 1):
        product = writer.result(f"{source.tensor.name}_power_{power}", *tensor.shape)
        writer.emit(Multiply(product, tensor.name, source.tensor.name))
        tensor = product
    if factor != 1:
        scaled = writer.result(f"{source.tensor.name}_scaled", *tensor.shape)
        writer.emit(Scale(scaled, tensor.name, factor))
        tensor = scaled
    return Value(tensor, source.layout)
