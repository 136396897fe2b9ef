"""Dropout in training: its factors are inputs of the graph, drawn by the host.

They are the numbers that PyTorch would draw, in its order and from its generator, so that values
and later draws of a script are those of plain PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch.fx import Node

from onewafer.graph import Multiply
from onewafer.pytorch.lowering.drawn import DropoutFactors
from onewafer.pytorch.lowering.operands import Probabilities, Value
from onewafer.pytorch.lowering.registry import lowers
from onewafer.pytorch.lowering.softmax import drop_probabilities

if TYPE_CHECKING:
    from torch.fx import Graph

    from onewafer.pytorch.lowering.operands import Operand
    from onewafer.pytorch.lowering.registry import Call
    from onewafer.pytorch.lowering.writer import GraphWriter


@lowers(
    *(
        f"{name}{in_place}.default"
        for name in ("dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout")
        for in_place in ("", "_")
    )
)
def _lower_dropout(writer: GraphWriter, call: Call) -> Operand:
    # Without a share of elements to drop, PyTorch draws no numbers.
    share = float(cast("float", call.constant(1, "p", 0.0)))
    if not call.constant(2, "train", None) or not share:
        return call.operand(0)
    if not call.name.startswith("aten.dropout"):
        raise call.unsupported("only dropout of single elements is supported in training mode")
    return _drop(writer, call, share)


@lowers("native_dropout.default")
def _lower_native_dropout(writer: GraphWriter, call: Call) -> tuple[Operand, ...]:
    """Lower the form of dropout that export writes in a module with operations in place."""
    share = float(cast("float", call.constant(1, "p", 0.0)))
    has_mask = any(user.args[1] != 0 for user in call.node.users)
    if call.constant(2, "train", None) is not True or has_mask:
        raise call.unsupported("what it keeps is not supported as a result")
    return (_drop(writer, call, share) if share else call.operand(0),)


def take_dropout_out_of_place(graph: Graph) -> None:
    """Replace `dropout_` by `dropout` where nothing else reads the tensor that it overwrites.

    Export would decompose it into operations that no longer name the dropout.
    """
    for node in graph.nodes:
        source = node.args[0] if node.target is torch.ops.aten.dropout_.default else None
        if isinstance(source, Node) and len(source.users) == 1 and _is_new(source):
            node.target = torch.ops.aten.dropout.default


def _is_new(node: Node) -> bool:
    """Tell whether an operation returns new memory, and no alias of an argument."""
    schema = getattr(node.target, "_schema", None)
    return schema is not None and all(found.alias_info is None for found in schema.returns)


def _drop(writer: GraphWriter, call: Call, share: float) -> Operand:
    """Multiply by drawn factors; `share` is the probability that an element is dropped."""
    operand = call.operand(0)
    like: torch.Tensor = cast("Node", call.node.args[0]).meta["val"]
    if isinstance(operand, Probabilities):
        return drop_probabilities(writer, call, operand, like, share)
    source = writer.whole(writer.value(operand))
    if source.is_wide or source.tensor.num_elements != like.numel():
        raise call.unsupported("dropout of a part of a tensor is not supported")
    if like.dtype is not torch.float32:
        raise call.unsupported("dropout in training mode is supported in float32")
    rows, features = source.tensor.shape
    name, matrix = f"{call.node.name}_factors__{features}", (rows, features)
    factors = DropoutFactors(name, like.stride(), matrix, source.layout, 1 - share)
    result = writer.result(call.node.name, *source.tensor.shape)
    writer.emit(Multiply(result, source.tensor.name, writer.draw(factors).name))
    return Value(result, source.layout)
