"""Operations of the namespace `onewafer`, which stand for parts of models that are only counted.

`stand_ins` puts them into modules that are captured for their cost; no other capture has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch

from onewafer.graph import Attention, Experts, Opaque
from onewafer.pytorch.lowering.operands import External, see
from onewafer.pytorch.lowering.registry import lowers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.graph import Tensor
    from onewafer.pytorch.lowering.operands import Operand
    from onewafer.pytorch.lowering.registry import Call
    from onewafer.pytorch.lowering.writer import GraphWriter


@lowers("experts.default", namespace="onewafer")
def _lower_experts(writer: GraphWriter, call: Call) -> Operand:
    rows, choice = writer.rows(call.operand(0)), writer.rows(call.operand(1))
    weights = tuple(writer.parameter(each, "weight").name for each in call.operand_list(2))
    num_experts, per_row, hidden = (cast("int", call.constant(i, "", 0)) for i in (3, 4, 5))
    result = writer.result(call.node.name, *rows.shape)
    writer.emit(Experts(result, rows.name, choice.name, weights, num_experts, per_row, hidden))
    return see(result, call.shape)


@lowers("attention.default", namespace="onewafer")
def _lower_attention(writer: GraphWriter, call: Call) -> Operand:
    parts = [writer.value(call.operand(index)) for index in range(3)]
    query, key, value = (writer.matrix(part, [0, 2], [1, 3]) for part in parts)
    sinks = call.optional(3, "sinks")
    scale, is_causal, window, cached = (call.constant(index, "", None) for index in range(4, 8))
    _, heads, rows, _ = parts[0].shape
    features = parts[2].shape[-1]
    result = writer.result(call.node.name, rows, heads * features)
    writer.emit(
        Attention(
            result,
            query.name,
            key.name,
            value.name,
            heads,
            parts[1].shape[1],
            cast("float", scale),
            bool(is_causal),
            window=cast("int | None", window),
            sinks=None if sinks is None else writer.parameter(sinks, "sinks").name,
            cached_features=cast("int | None", cached),
        )
    )
    return see(result, call.shape)


@lowers("latent_attention.default", namespace="onewafer")
def _lower_latent_attention(writer: GraphWriter, call: Call) -> Operand:
    """Write multi-head latent attention, whose keys and values are the same for all heads.

    The weight that expands latent vectors to keys is applied to the queries instead, the one that
    expands them to values is applied to the result of attention.
    """
    query, latent, rotated = (writer.rows(call.operand(index)) for index in range(3))
    heads, plain, values = (cast("int", call.constant(index, "", 0)) for index in range(4, 7))
    rows, size = latent.shape
    both = size + rotated.shape[1]
    for_keys, for_values = _parts_of_heads(writer, call, plain, values)
    name = call.node.name
    scale = cast("float", call.constant(7, "", 1.0))
    absorbed = writer.result(f"{name}_query", rows, heads * both)
    _count(writer, absorbed, "absorb_keys", ([query], [for_keys]), 2 * plain * size / both)
    key = writer.result(f"{name}_key", rows, both)
    _count(writer, key, "join", ([latent, rotated], []), 0.0)
    mixed = writer.result(f"{name}_latent", rows, heads * size)
    operands = absorbed.name, key.name, latent.name
    writer.emit(Attention(mixed, *operands, heads, 1, scale, is_causal=True, cached_features=both))
    result = writer.result(name, rows, heads * values)
    _count(writer, result, "expand_values", ([mixed], [for_values]), 2 * size)
    return see(result, call.shape)


def _parts_of_heads(
    writer: GraphWriter, call: Call, plain: int, values: int
) -> tuple[Tensor, Tensor]:
    """Return the parts of the expanding weight for keys and for values, head after head."""
    weight = call.operand(3)
    if not isinstance(weight, External):
        raise call.unsupported("its weight is computed")
    aten, name = torch.ops.aten, weight.name
    shape = [-1, plain + values, weight.shape[1]]
    by_head = writer.view(weight, f"{name}__by_head", aten.reshape.default, shape)
    keys = writer.view(by_head, f"{name}__keys", aten.slice.Tensor, 1, 0, plain)
    rest = writer.view(by_head, f"{name}__values", aten.slice.Tensor, 1, plain, plain + values)
    return writer.parameter(keys, "weight"), writer.parameter(rest, "weight")


def _count(
    writer: GraphWriter,
    result: Tensor,
    what: str,
    sources: tuple[Sequence[Tensor], Sequence[Tensor]],
    flop_per_element: float,
) -> None:
    """Emit an operation that is only counted; `sources` are its inputs and its parameters."""
    inputs, parameters = (tuple(tensor.name for tensor in tensors) for tensors in sources)
    name = f"onewafer.{what}"
    writer.emit(Opaque(result, name, inputs, parameters, flop_per_element, keeps_rows=True))
