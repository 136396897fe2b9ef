"""Attention: as one operation of PyTorch, and as products, mask and softmax written out."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import torch

from onewafer.graph import Attention
from onewafer.pytorch.lowering.operands import External, Origin, Scores, Shares, Value, see
from onewafer.pytorch.lowering.registry import Number, lowers

if TYPE_CHECKING:
    from onewafer.pytorch.lowering.operands import Operand
    from onewafer.pytorch.lowering.registry import Call
    from onewafer.pytorch.lowering.writer import GraphWriter

_RANK = 4
"""Dimensions of a query: batch, heads, rows, features."""
_HIDES = {torch.float32: -1e30, torch.float16: -6e4}
"""Format → a mask with less than this leaves nothing of an exponential."""


# --- one operation -----------------------------------------------------------------------------


@lowers("scaled_dot_product_attention.default")
def _lower_attention(writer: GraphWriter, call: Call) -> Operand:
    query, key, value = (writer.value(call.operand(index)) for index in range(3))
    if call.constant(4, "dropout_p", 0.0):
        raise call.unsupported("dropout draws random numbers; call model.eval()")
    is_causal = bool(call.constant(5, "is_causal", default=False))
    scale = call.constant(6, "scale", None)
    if scale is None:
        scale = 1 / math.sqrt(query.shape[-1])
    if call.constant(7, "enable_gqa", default=False):
        key, value = (_repeat_heads(call, query, source) for source in (key, value))
    scores = _scores(call, query, key)
    scores = replace(scores, scale=cast("float", scale))
    mask = call.optional(3, "attn_mask")
    if mask is not None:
        if not isinstance(mask, External):
            raise call.unsupported("the mask is computed on the wafer")
        scores = add_mask(writer, call, scores, mask)
    return _write_attention(writer, call, scores, value, is_causal=is_causal)


def _repeat_heads(call: Call, query: Value, source: Value) -> Value:
    heads, few = query.shape[1], source.shape[1]
    if heads % few:
        raise call.unsupported(f"{heads} heads of the query for {few} of key and value")
    return replace(source, layout=source.layout.repeat(1, heads // few))


# --- written out -------------------------------------------------------------------------------


def multiply_values(
    writer: GraphWriter, call: Call, left: Operand, right: Operand
) -> Operand | None:
    """Return what a product of two tensors is in an attention; None if neither is stored."""
    match left, right:
        case Shares(scores), Value():
            return _write_attention(writer, call, scores, right, is_causal=False)
        case Value(), Value() if len(left.shape) == len(right.shape) == _RANK:
            order = (0, 1, 3, 2)
            key = replace(right, layout=right.layout.permute(order))
            return _scores(call, left, key)
        case _:
            return None


def _scores(call: Call, query: Value, key: Value) -> Scores:
    if len(query.shape) != _RANK or len(key.shape) != _RANK:
        raise call.unsupported("its operands are not of shape (batch, heads, rows, features)")
    if query.shape[0] != 1:
        raise call.unsupported(
            f"it attends within {query.shape[0]} sequences; the wafer takes one at a time"
        )
    if query.shape != key.shape:
        raise call.unsupported(f"the query has shape {query.shape} and the key {key.shape}")
    return Scores(query, key, 1.0, None)


@lowers("softmax.int", "_softmax.default")
def _lower_softmax(writer: GraphWriter, call: Call) -> Operand:
    del writer
    operand, dimension = call.operand(0), cast("int", call.node.args[1])
    if not isinstance(operand, Scores):
        raise call.unsupported("only the softmax of an attention's scores has a form")
    if dimension % _RANK != _RANK - 1:
        raise call.unsupported("the softmax of an attention is not over the keys")
    return Shares(operand)


@lowers("masked_fill.Scalar", "masked_fill.Tensor")
def _lower_masked_fill(writer: GraphWriter, call: Call) -> Operand:
    scores, hidden, fill = call.operand(0), call.operand(1), call.operand_or_number(2)
    if not isinstance(scores, Scores) or not isinstance(hidden, External):
        raise call.unsupported("only scores of an attention can be masked, by a stored mask")
    if not isinstance(fill, Number) or fill.value > _HIDES[call.dtype]:
        raise call.unsupported("what it fills in does not hide a key")
    seen = writer.view(hidden, f"{hidden.name}__seen", torch.logical_not)
    return add_mask(writer, call, scores, seen)


@lowers("where.self", "where.ScalarOther")
def _lower_where(writer: GraphWriter, call: Call) -> Operand:
    seen, scores, fill = call.operand(0), call.operand(1), call.operand_or_number(2)
    if not isinstance(scores, Scores) or not isinstance(seen, External):
        raise call.unsupported("only scores of an attention can be masked, by a stored mask")
    if isinstance(fill, External) and fill.origin is Origin.CONSTANT:
        fill = Number(float(fill.tensor.max()))
    if not isinstance(fill, Number) or fill.value > _HIDES[call.dtype]:
        raise call.unsupported("what it fills in does not hide a key")
    return add_mask(writer, call, scores, seen)


def add_mask(writer: GraphWriter, call: Call, scores: Scores, mask: External) -> Scores:
    """Return scores with a mask: boolean, true where a key is seen, or what is added to scores."""
    if scores.mask is not None:
        raise call.unsupported("it masks scores twice")
    values = writer.decide(mask)
    if values.dtype is torch.bool:
        return replace(scores, mask=mask)
    threshold = _HIDES.get(values.dtype)
    if threshold is None or not ((values == 0) | (values < threshold)).all():
        raise call.unsupported("it adds to the scores something else than a mask")
    seen = writer.view(mask, f"{mask.name}__seen", torch.ops.aten.eq.Scalar, 0)
    return replace(scores, mask=seen)


# --- the operation of the graph ----------------------------------------------------------------


def _write_attention(
    writer: GraphWriter, call: Call, scores: Scores, value: Value, *, is_causal: bool
) -> Value:
    query = scores.query
    if len(value.shape) != _RANK or value.shape[:3] != query.shape[:3]:
        raise call.unsupported(f"the query has shape {query.shape} and the value {value.shape}")
    _, heads, rows, _ = query.shape
    key_layout, key_times = scores.key.layout.without_repetition(1)
    value_layout, value_times = value.layout.without_repetition(1)
    if key_times != value_times:
        raise call.unsupported("keys and values are repeated differently over the heads")
    parts = (
        query,
        replace(scores.key, layout=key_layout),
        replace(value, layout=value_layout),
    )
    query_rows, key_rows, value_rows = (
        writer.matrix(replace(part, is_wide=False), [0, 2], [1, 3]) for part in parts
    )
    if scores.mask is not None:
        is_causal = _is_causal(call, scores.mask, rows)
    features = heads * value.shape[-1]
    result = writer.result(call.node.name, rows, features)
    writer.emit(
        Attention(
            result,
            query_rows.name,
            key_rows.name,
            value_rows.name,
            heads,
            heads // key_times,
            scores.scale,
            is_causal,
        )
    )
    seen = see(result, (1, rows, heads, value.shape[-1]))
    is_wide = query.is_wide or value.is_wide
    return Value(result, seen.layout.permute((0, 2, 1, 3)), is_wide=is_wide)


def _is_causal(call: Call, mask: External, rows: int) -> bool:
    """Tell whether a mask hides exactly what comes later; refuse one that hides anything else."""
    leading = mask.shape[:-2]
    seen = mask.tensor.expand(*leading, rows, rows)
    if seen.all():
        return False
    causal = torch.ones(rows, rows, dtype=torch.bool, device=seen.device).tril()
    if (seen == causal).all():
        return True
    too_few = causal & ~seen
    if too_few.any():
        _, row, key = (int(index) for index in too_few.reshape(-1, rows, rows).nonzero()[0])
        what = f"row {row} does not see row {key} (padding, or a sliding window)"
    else:
        what = "some rows see later rows and others do not"
    raise call.unsupported(f"the mask is neither causal nor empty: {what}")
