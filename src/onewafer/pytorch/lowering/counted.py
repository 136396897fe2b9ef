"""Operations that stand for code of models whose cost is known and whose form is not.

`stand_ins` puts them into modules that are captured for counts; no other capture meets them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from onewafer.graph import Attention, Experts
from onewafer.pytorch.lowering.operands import see
from onewafer.pytorch.lowering.registry import lowers

if TYPE_CHECKING:
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
