"""The operations that norms become, whether PyTorch has one for them or they are written out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from onewafer.graph import LayerNorm, RmsNorm
from onewafer.pytorch.lowering.operands import External, Normalised, Value
from onewafer.pytorch.lowering.writer import write

if TYPE_CHECKING:
    from onewafer.pytorch.lowering.operands import Operand
    from onewafer.pytorch.lowering.writer import GraphWriter


def write_norm(
    writer: GraphWriter, name: str, norm: Normalised, weight: Operand, bias: Operand | None = None
) -> Value:
    """Write a norm over the last dimension; each group of features has the same weight.

    Only one of a value less its mean has a bias. Where it is trained, the weight of many groups is
    repeated for each: PyTorch adds their gradients up.
    """
    value = norm.value
    source = writer.whole(replace(value, is_wide=False))
    features, groups = source.shape[-1], source.count_groups()
    vector = writer.parameter(_of_all(writer, weight, groups), "weight").name
    result = writer.result(name, *source.tensor.shape)
    if norm.is_centred:
        bias = bias or writer.filled(0.0, features)
        shift = writer.parameter(_of_all(writer, bias, groups), "bias").name
        operands = source.tensor.name, vector, shift
        writer.emit(LayerNorm(result, *operands, norm.epsilon, groups))
    else:
        writer.emit(RmsNorm(result, source.tensor.name, vector, norm.epsilon, groups))
    return Value(result, source.layout, is_wide=value.is_wide)


def _of_all(writer: GraphWriter, vector: Operand, groups: int) -> Operand:
    """Return the vector of one group, or that of all if it may be trained, which is in float32."""
    if groups == 1 or not isinstance(vector, External) or writer.format is not torch.float32:
        return vector
    if not vector.tensor.requires_grad:
        return vector
    return writer.view(
        vector, f"{vector.name}_of_{groups}", torch.ops.aten.repeat.default, [groups]
    )


@write.register(Normalised)
def _(norm: Normalised, writer: GraphWriter) -> Value:
    """Write a norm without a weight."""
    weight = writer.filled(1.0, norm.value.shape[-1])
    return write_norm(writer, f"{norm.value.tensor.name}_normalised", norm, weight)
