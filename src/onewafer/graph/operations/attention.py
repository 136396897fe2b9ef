"""Attention to the rows of a launch, and of earlier ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.graph.operations.checks import not_a_matrix
from onewafer.graph.operations.layer_part import LayerPart
from onewafer.graph.operations.names import ParameterName, ValueName
from onewafer.graph.operations.norms import SOFTMAX_FLOP
from onewafer.graph.operations.operation import Operation

if TYPE_CHECKING:
    from onewafer.graph.operations.launch import Array, Launch
    from onewafer.graph.operations.operation import Tensors

__all__ = ["Attention"]


@dataclass(frozen=True, slots=True)
class Attention(Operation):
    """Mix the value rows by how well their key rows match each query row; two-dimensional.

    Query head h, the h-th group of features, meets key and value head h // (heads / kv_heads):
    `result[r, h] = Σₛ softmaxₛ(scale · query[r, h] · key[s, …]) · value[s, …]`. If causal, s runs
    over the rows of this and of all earlier launches of the sequence up to position start + r, so
    that keys and values stay with the program; else over the rows of this launch. A bias is added
    to the products before they are scaled: `scale · (query[r, h] · key[s, …] + bias[r, h, s])`.
    A window leaves out what lies further back: s > start + r − window.
    """

    part = LayerPart.ATTENTION
    is_sequential = True
    has_all_rows = True

    query: ValueName
    """Shape (rows, heads · head features)."""
    key: ValueName
    """Shape (rows, kv_heads · head features)."""
    value: ValueName
    """Shape (rows, kv_heads · value features)."""
    heads: int
    kv_heads: int
    scale: float
    is_causal: bool
    bias: ParameterName | None = None
    """A parameter of shape (rows · heads, rows), row r of head h as row r · heads + h; only if not
    causal. A mask has large negative numbers where a key is not seen."""
    window: int | None = None
    """Most rows that a row sees, itself and those right before it; only if causal. None: all."""
    sinks: ParameterName | None = None
    """A parameter of shape (heads,): scores of a key that every row sees and whose value is 0."""
    cached_features: int | None = None
    """Numbers that are kept of each token for later ones, where keys and values share some; None:
    its key and its value."""

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return the rows of the query with the features of the value, for every query head."""
        features = tensors[self.value].shape[-1] // self.kv_heads * self.heads
        return (tensors[self.query].shape[0], features)

    def wrong_number(self) -> str | None:
        """Return what is wrong with its numbers; None if nothing is."""
        if not 0 < self.scale < math.inf:
            return f"the scale is {self.scale}, must be positive"
        return None

    def wrong_operand(self, tensors: Tensors) -> str | None:
        """Return what is wrong with the shapes of its operands; None if nothing is."""
        heads, kv_heads = self.heads, self.kv_heads
        if heads < 1 or kv_heads < 1 or heads % kv_heads:
            return (
                f"it has {heads} heads over {kv_heads} key and value heads, which must divide them"
            )
        query, key, value = (tensors[name] for name in self.activation_operands)
        for what, tensor in (("query", query), ("key", key), ("value", value)):
            wrong = not_a_matrix(what, tensor)
            if wrong is not None:
                return wrong
        rows, features = query.shape
        if features % heads:
            return f"it cuts {features} features of the query into {heads} heads"
        expected = (rows, features // heads * kv_heads)
        if key.shape != expected:
            return f"the key has shape {key.shape}, must be {expected}"
        if value.shape[0] != rows or value.shape[1] % kv_heads:
            return f"the value has shape {value.shape}, must be ({rows}, a multiple of {kv_heads})"
        return self._wrong_option(rows, tensors)

    def _wrong_option(self, rows: int, tensors: Tensors) -> str | None:
        """Return what is wrong with what it may have."""
        if self.sinks is not None and tensors[self.sinks].shape != (self.heads,):
            return f"the sinks have shape {tensors[self.sinks].shape}, must be ({self.heads},)"
        if self.window is not None and not (self.is_causal and self.window >= 1):
            return f"it has a window of {self.window}, which must be at least 1 and causal"
        if self.bias is None:
            return None
        if self.is_causal:
            return (
                "it is causal and has a bias; only attention to all rows of a launch can have one"
            )
        bias, expected = tensors[self.bias].shape, (rows * self.heads, rows)
        if bias == expected:
            return None
        return f"the bias has shape {bias}, must be (rows · heads, rows) = {expected}"

    def count_flop(self, tensors: Tensors) -> int:
        """Return the floating point operations of a launch at position 0."""
        return self.count_flop_after(tensors, 0)

    def count_flop_after(self, tensors: Tensors, cached_tokens: int) -> int:
        """Return them after some tokens of its sequence, which only causal attention sees."""
        rows, query_features = tensors[self.query].shape
        result_features = self.result.shape[-1]
        pairs = self._num_pairs(rows, cached_tokens)
        products = 2 * pairs * (query_features + result_features)
        softmax = SOFTMAX_FLOP + (self.bias is not None)
        return products + softmax * pairs * self.heads + rows * result_features

    def count_product_flop(self, tensors: Tensors, *, cached_tokens: int = 0) -> int:
        """Return those of its products with every key, masked or not."""
        rows, query_features = tensors[self.query].shape
        keys = tensors[self.key].shape[0] + (cached_tokens if self.is_causal else 0)
        return 2 * rows * keys * (query_features + self.result.shape[-1])

    def count_token_features(self, tensors: Tensors) -> int:
        """Return how many numbers it keeps of each token for later ones."""
        if not self.is_causal:
            return 0
        if self.cached_features is not None:
            return self.cached_features
        return tensors[self.key].shape[-1] + tensors[self.value].shape[-1]

    def count_cached(self, tensors: Tensors, cached_tokens: int) -> int:
        """Return the elements that it reads of earlier tokens in its window."""
        seen = cached_tokens if self.window is None else min(cached_tokens, self.window - 1)
        return seen * self.count_token_features(tensors)

    def _num_pairs(self, rows: int, cached_tokens: int) -> int:
        """Return how many keys all rows see together."""
        if not self.is_causal:
            return rows * rows
        if self.window is None:
            return rows * cached_tokens + rows * (rows + 1) // 2
        growing = min(rows, max(0, self.window - cached_tokens))
        """Rows that see the whole sequence so far."""
        seen = growing * cached_tokens + growing * (growing + 1) // 2
        return seen + (rows - growing) * self.window

    def evaluate(self, launch: Launch) -> Array:
        """Return its result in a launch."""
        query, keys, values = (launch[name] for name in self.activation_operands)
        if self.is_causal:
            keys, values = launch.append(self.result.name, keys, values)
        groups = self.heads // self.kv_heads
        heads = query.reshape(len(query), self.kv_heads, groups, -1)
        keys = keys.reshape(len(keys), self.kv_heads, -1)
        values = values.reshape(len(values), self.kv_heads, -1)
        scores = np.einsum("rhgd,shd->rhgs", heads, keys)
        if self.bias is not None:
            bias = launch[self.bias]
            by_row = bias.reshape(-1, self.heads, bias.shape[-1])
            scores = scores + by_row[: len(query), :, : len(keys)].reshape(scores.shape)
        scores = scores * self.scale
        if self.is_causal:
            scores = self._masked(scores, launch.start)
        shares = _shares(scores, None if self.sinks is None else launch[self.sinks])
        return np.einsum("rhgs,shd->rhgd", shares, values).reshape(len(query), -1)

    def _masked(self, scores: Array, start: int) -> Array:
        """Return scores (rows, kv heads, group, keys) without those of keys that are not seen."""
        keys: int = scores.shape[-1]
        position = start + np.arange(len(scores))
        distance = position[:, np.newaxis] - np.arange(keys)
        window = keys if self.window is None else self.window
        is_hidden = (distance < 0) | (distance >= window)
        return np.where(is_hidden[:, np.newaxis, np.newaxis], -np.inf, scores)


def _shares(scores: Array, sinks: Array | None) -> Array:
    """Return the softmax of scores (rows, kv heads, group, keys), less what a sink takes."""
    top = scores.max(axis=-1, keepdims=True)
    if sinks is None:
        shares = np.exp(scores - top)
        return shares / shares.sum(axis=-1, keepdims=True)
    sinks = sinks.reshape(1, *scores.shape[1:3], 1)
    top = np.maximum(top, sinks)
    shares = np.exp(scores - top)
    return shares / (shares.sum(axis=-1, keepdims=True) + np.exp(sinks - top))
