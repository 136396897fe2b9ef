"""Attention: as one operation of PyTorch, and as products, mask and softmax written out."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import torch

from onewafer.graph import Attention
from onewafer.pytorch.lowering.drawn import DropoutFactors
from onewafer.pytorch.lowering.layout import Layout
from onewafer.pytorch.lowering.masks import HIDES, Visibility, read_masks
from onewafer.pytorch.lowering.operands import (
    External,
    Origin,
    Polynomial,
    Probabilities,
    Scores,
    Value,
    see,
)
from onewafer.pytorch.lowering.products import write_softmax
from onewafer.pytorch.lowering.registry import Number, lowers

if TYPE_CHECKING:
    from onewafer.pytorch.lowering.operands import Operand
    from onewafer.pytorch.lowering.registry import Call
    from onewafer.pytorch.lowering.writer import GraphWriter

_RANK = 4
"""Dimensions of a query: batch, heads, rows, features."""


# --- one operation -----------------------------------------------------------------------------


@lowers("scaled_dot_product_attention.default")
def _lower_attention(writer: GraphWriter, call: Call) -> Operand:
    query, key, value = (writer.value(call.operand(index)) for index in range(3))
    is_causal = bool(call.constant(5, "is_causal", default=False))
    scale = call.constant(6, "scale", None)
    if scale is None:
        scale = 1 / math.sqrt(query.shape[-1])
    is_grouped = call.constant(7, "enable_gqa", default=False)
    key, value = (
        _repeat_heads(call, query, source)
        if len(source.shape) == _RANK and (is_grouped or source.shape[1] == 1)
        else source
        for source in (key, value)
    )
    scores = _scores(call, query, key)
    scores = replace(scores, scale=cast("float", scale))
    mask = call.optional(3, "attn_mask")
    if mask is not None:
        if not isinstance(mask, External):
            raise call.unsupported(
                "an attention mask that the model computes from its data is not supported"
            )
        scores = add_mask(writer, call, scores, mask)
    probabilities = Probabilities(scores)
    share = float(cast("float", call.constant(4, "dropout_p", 0.0)))
    if share:  # PyTorch computes such an attention as products, softmax and dropout
        like = torch.empty(scores.shape, dtype=call.dtype, device="meta")
        probabilities = drop_probabilities(writer, call, probabilities, like, share)
    return _write_attention(writer, call, probabilities, value, is_causal=is_causal)


def _repeat_heads(call: Call, query: Value, source: Value) -> Value:
    heads, few = query.shape[1], source.shape[1]
    if heads % few:
        raise call.unsupported(f"{heads} query heads cannot share {few} key heads")
    return replace(source, layout=source.layout.repeat(1, heads // few))


# --- written out -------------------------------------------------------------------------------


def multiply_values(
    writer: GraphWriter, call: Call, left: Operand, right: Operand
) -> Operand | None:
    """Return the scores or the attention that a product of two tensors is; None: it is neither."""
    left, factor = _unscaled(left)
    match left, right:
        case Probabilities(), Value():
            return _write_attention(writer, call, left, right, is_causal=False)
        case Value(), Value() if len(left.shape) == len(right.shape) in (_RANK - 1, _RANK):
            order = (*range(len(right.shape) - 2), -1, -2)
            key = replace(right, layout=right.layout.permute(order))
            scores = _scores(call, _with_batch(left), _with_batch(key))
            return replace(scores, scale=factor)
        case _:
            return None


def _unscaled(operand: Operand) -> tuple[Operand, float]:
    """Return x and c of a multiple c · x; another operand with the factor 1."""
    match operand:
        case Polynomial(value, terms) if list(terms) == [1]:
            return value, terms[1]
        case _:
            return operand, 1.0


def _with_batch(value: Value) -> Value:
    """Return a value with dimensions for batch and heads, also where these are joined to one."""
    if len(value.shape) == _RANK:
        return value
    num_features, count = value.tensor.shape[1], value.shape[0]
    strides = value.layout.dimensions[0]
    batch = math.prod(size for size, stride in strides if stride and not stride % num_features)
    split = value.layout.reshape((batch, count // batch, *value.shape[1:]))
    return replace(value, layout=split or value.layout.expand((1, *value.shape)))


@lowers("baddbmm.default")
def _lower_biased_product(writer: GraphWriter, call: Call) -> Operand:
    """Return the scores that a stored bias plus a product of values are."""
    bias, left, right = (call.operand(index) for index in range(3))
    scores = multiply_values(writer, call, left, right)
    if not isinstance(scores, Scores) or not isinstance(bias, External):
        raise call.unsupported("it is supported only for attention scores plus a stored bias")
    beta, alpha = call.constant(3, "beta", 1), call.constant(4, "alpha", 1)
    if beta != 1:
        bias = writer.view(bias, f"{bias.name}__scaled", torch.ops.aten.mul.Tensor, beta)
    return add_mask(writer, call, replace(scores, scale=float(cast("float", alpha))), bias)


def see_scores(call: Call, operand: Scores | Probabilities) -> Scores | Probabilities:
    """Return scores seen with another shape: with or without the dimension of a batch of one."""
    scores = operand.scores if isinstance(operand, Probabilities) else operand
    sequences, heads, rows, _ = scores.query.shape
    full = (heads, rows, scores.key.shape[2])
    if call.shape not in ((sequences * heads, *full[1:]), (sequences, *full)):
        raise call.unsupported(
            f"reshaping attention scores from {full} to {call.shape} is not supported"
        )
    if isinstance(operand, Probabilities):
        return replace(operand, scores=replace(scores, shape=call.shape))
    return replace(scores, shape=call.shape)


def _scores(call: Call, query: Value, key: Value) -> Scores:
    if len(query.shape) != _RANK or len(key.shape) != _RANK:
        raise call.unsupported("attention takes operands of shape (batch, heads, tokens, features)")
    if query.shape[:2] != key.shape[:2] or query.shape[3] != key.shape[3]:
        msg = f"a query of shape {query.shape} does not fit a key of shape {key.shape}"
        raise call.unsupported(msg)
    full = (*query.shape[:3], key.shape[2])
    is_alike = math.prod(call.shape) == math.prod(full)
    return Scores(query, key, 1.0, call.shape if is_alike else full)


@lowers("softmax.int", "_softmax.default")
def _lower_softmax(writer: GraphWriter, call: Call) -> Operand:
    operand, dimension = call.operand(0), cast("int", call.node.args[1])
    if dimension % len(call.shape) != len(call.shape) - 1:
        raise call.unsupported("a softmax over another dimension than the last is not supported")
    if isinstance(operand, Scores):
        return Probabilities(operand)
    return write_softmax(writer, call.node.name, writer.value(operand))


@lowers("masked_fill.Scalar", "masked_fill.Tensor")
def _lower_masked_fill(writer: GraphWriter, call: Call) -> Operand:
    return _mask_scores(writer, call, call.operand(0), call.operand(1), hides=True)


@lowers("where.self", "where.ScalarOther")
def _lower_where(writer: GraphWriter, call: Call) -> Operand:
    return _mask_scores(writer, call, call.operand(1), call.operand(0), hides=False)


def _mask_scores(
    writer: GraphWriter, call: Call, scores: Operand, mask: Operand, *, hides: bool
) -> Scores:
    """Return scores with one more mask, which is true where it hides keys, or where not.

    Argument 2 replaces hidden scores; a number that does not hide the key is refused.
    """
    fill = call.operand_or_number(2)
    if not isinstance(scores, Scores) or not isinstance(mask, External):
        raise call.unsupported(
            "masking is supported only for attention scores, with a mask from outside"
        )
    if isinstance(fill, External) and fill.origin is not Origin.DATA:
        largest = writer.view(fill, f"{fill.name}__largest", torch.max)
        fill = Number(float(writer.decide(largest)))
    if not isinstance(fill, Number) or not fill.value < HIDES[call.dtype]:
        raise call.unsupported("the fill value does not hide a key; use -inf")
    if hides:
        mask = writer.view(mask, f"{mask.name}__seen", torch.logical_not)
    return add_mask(writer, call, scores, mask)


def add_mask(writer: GraphWriter, call: Call, scores: Scores, mask: External) -> Scores:
    """Return scores with one more mask."""
    sequences, heads, rows, _ = scores.query.shape
    full = (sequences, heads, rows, scores.key.shape[2])
    if len(mask.shape) < len(full) and mask.shape[0] == sequences * heads > heads:
        split = [sequences, heads, *mask.shape[1:]]
        mask = writer.view(mask, f"{mask.name}__split", torch.ops.aten.reshape.default, split)
    shape = (1,) * (len(full) - len(mask.shape)) + mask.shape
    fits = all(size in (1, whole) for size, whole in zip(shape, full, strict=True))
    if len(shape) != len(full) or not fits:
        raise call.unsupported(
            f"a mask of shape {mask.shape} does not fit attention scores of {full}"
        )
    if mask.tensor.dtype not in (torch.bool, *HIDES):
        raise call.unsupported(f"a mask of dtype {mask.tensor.dtype} is not supported")
    is_alike = math.prod(call.shape) == math.prod(full)
    seen = call.shape if is_alike else scores.shape
    return replace(scores, masks=(*scores.masks, mask), shape=seen)


# --- dropout -----------------------------------------------------------------------------------


def drop_probabilities(
    writer: GraphWriter, call: Call, probabilities: Probabilities, like: torch.Tensor, share: float
) -> Probabilities:
    """Return probabilities times drawn factors, which have the shape of `like`."""
    scores = probabilities.scores
    sequences, heads, rows, _ = scores.query.shape
    keys = scores.key.shape[2]
    if probabilities.factors is not None:
        raise call.unsupported("a second dropout of attention weights is not supported")
    if like.dtype is not torch.float32:
        raise call.unsupported("dropout in training mode is supported in float32")
    matrix = sequences * rows, heads * keys
    of_rows = Layout.of_matrix(matrix).reshape((sequences, rows, heads, keys))
    assert of_rows is not None, "a matrix in its order can be cut anywhere"  # invariant
    layout = of_rows.permute((0, 2, 1, 3)).reshape(scores.shape)
    assert layout is not None, "dimensions next to each other are joined"  # invariant
    name = f"{call.node.name}_factors__{matrix[1]}"
    factors = DropoutFactors(name, like.stride(), matrix, layout, 1 - share)
    return replace(probabilities, factors=writer.draw(factors).name)


# --- the operation of the graph ----------------------------------------------------------------


def _write_attention(
    writer: GraphWriter, call: Call, probabilities: Probabilities, value: Value, *, is_causal: bool
) -> Value:
    scores = probabilities.scores
    query, value = scores.query, _with_batch(value)
    if len(value.shape) != _RANK or value.shape[:3] != scores.key.shape[:3]:
        msg = f"a key of shape {scores.key.shape} does not fit a value of shape {value.shape}"
        raise call.unsupported(msg)
    sequences, heads, rows, _ = query.shape
    writer.note_sequences(sequences)
    if is_causal and rows != value.shape[2]:
        raise call.unsupported(
            f"causal attention of {rows} queries over {value.shape[2]} keys is not supported"
        )
    key_layout, key_times = scores.key.layout.without_repetition(1)
    value_layout, value_times = value.layout.without_repetition(1)
    if key_times != value_times:
        raise call.unsupported("keys and values are shared by different numbers of query heads")
    parts = (
        query,
        replace(scores.key, layout=key_layout),
        replace(value, layout=value_layout),
    )
    query_rows, key_rows, value_rows = (
        writer.matrix(replace(part, is_wide=False), [0, 2], [1, 3]) for part in parts
    )
    visibility, bias = read_masks(writer, scores)
    features = heads * value.shape[-1]
    result = writer.result(call.node.name, sequences * rows, features)
    writer.emit(
        Attention(
            result,
            query_rows.name,
            key_rows.name,
            value_rows.name,
            heads,
            heads // key_times,
            scores.scale,
            is_causal or visibility is Visibility.CAUSAL,
            None if bias is None else writer.parameter(bias, "bias").name,
            factors=probabilities.factors,
        )
    )
    seen = see(result, (sequences, rows, heads, value.shape[-1])).layout.permute((0, 2, 1, 3))
    joined = seen.reshape(call.shape)
    assert joined is not None, "dimensions next to each other are joined"  # invariant
    return Value(result, joined, is_wide=query.is_wide or value.is_wide)
