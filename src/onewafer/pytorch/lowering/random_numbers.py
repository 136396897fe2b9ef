"""Random numbers that a module draws as large as another tensor: inputs that the host draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch

from onewafer.pytorch.lowering.drawn import NormalNumbers
from onewafer.pytorch.lowering.operands import Value
from onewafer.pytorch.lowering.registry import lowers

if TYPE_CHECKING:
    from torch.fx import Node

    from onewafer.pytorch.lowering.operands import Operand
    from onewafer.pytorch.lowering.registry import Call
    from onewafer.pytorch.lowering.writer import GraphWriter


@lowers("randn_like.default")
def _lower_normal_numbers(writer: GraphWriter, call: Call) -> Operand:
    source = writer.whole(writer.value(call.operand(0)))
    like: torch.Tensor = cast("Node", call.node.args[0]).meta["val"]
    if source.is_wide or source.tensor.num_elements != like.numel():
        raise call.unsupported("numbers for a part of a tensor are not supported")
    if call.dtype is not torch.float32 or call.node.kwargs.get("memory_format") is not None:
        raise call.unsupported("random numbers are supported in float32, as the tensor lies")
    rows, features = source.tensor.shape
    matrix, name = (rows, features), f"{call.node.name}__{features}"
    drawn = NormalNumbers(name, like.stride(), matrix, source.layout)
    return Value(writer.draw(drawn), source.layout)
