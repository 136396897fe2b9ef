"""Attention to the rows of a launch and of earlier launches, and its gradients."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from onewafer.errors import HostError
from onewafer.graph.draws import Draw  # JSON reads the annotation
from onewafer.graph.operations.checks import not_a_matrix, wrong_gradient
from onewafer.graph.operations.layer_part import LayerPart
from onewafer.graph.operations.names import ParameterName, ValueName
from onewafer.graph.operations.norms import SOFTMAX_FLOP
from onewafer.graph.operations.operation import Operation

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from onewafer.graph.operations.launch import Array, Launch
    from onewafer.graph.operations.operation import Backward, Tensors
    from onewafer.graph.tensor import Tensor

__all__ = ["Attention", "AttentionGradient", "AttentionOperandGradient"]

_GRADIENT_FLOP = 4
"""For each score of a backward pass, besides softmax: product, subtract, product, scale."""


class _Attending(Operation):
    """An operation that computes the attention probabilities of each query row."""

    __slots__ = ()

    is_sequential = True
    has_all_rows = True

    query: ValueName
    key: ValueName
    value: ValueName
    heads: int
    kv_heads: int
    scale: float
    is_causal: bool
    bias: ParameterName | None
    window: int | None
    sinks: ParameterName | None
    factors: ValueName | None
    drawn: Draw | None
    kept_as: str | None

    @property
    def draw(self) -> Draw | None:
        return self.drawn

    @property
    @abstractmethod
    def attention(self) -> str:
        """The name of the result of the attention."""

    @property
    def kept_name(self) -> str:
        """The name under which the keys and values of a sequence are cached."""
        return self.attention if self.kept_as is None else self.kept_as

    def computed_again(self, names: Mapping[str, str]) -> Self:
        """Return the operation with new names; what earlier launches cached keeps its name."""
        found = self.renamed(names)
        return found if found.attention == self.attention else found.keeping_as(self.kept_name)

    @abstractmethod
    def keeping_as(self, name: str) -> Self:
        """Return a copy that stores its keys and values under another name."""

    @property
    def has_dropout(self) -> bool:
        """True if the probabilities are multiplied by dropout factors, given or drawn."""
        return self.factors is not None or self.draw is not None

    def drawn_factors(self, launch: Launch, keys: int) -> Array:
        """Return the drawn factors of a launch's probabilities, (rows, heads, keys)."""
        assert self.draw is not None, "it draws"  # invariant
        return launch.factors(self.draw).reshape(launch.num_rows, self.heads, -1)[..., :keys]

    def _factors(self, launch: Launch, like: Array) -> Array | None:
        """Return the factors of the probabilities, in their shape; None without dropout."""
        if self.draw is not None:
            return self.drawn_factors(launch, like.shape[-1]).reshape(like.shape)
        if self.factors is None:
            return None
        by_head = launch[self.factors].reshape(len(like), self.heads, -1)
        if by_head.shape[-1] < like.shape[-1]:
            raise HostError(f"a launch that starts at {launch.start} is no whole sequence")
        return by_head[..., : like.shape[-1]].reshape(like.shape)

    def _by_head(self, rows: Array) -> Array:
        """Return rows of query heads as (rows, kv heads, group, features)."""
        return rows.reshape(len(rows), self.kv_heads, self.heads // self.kv_heads, -1)

    def _by_kv_head(self, rows: Array) -> Array:
        """Return rows of key or value heads as (rows, kv heads, features)."""
        return rows.reshape(len(rows), self.kv_heads, -1)

    def _probabilities(self, launch: Launch, query: Array, keys: Array) -> Array:
        """Return the probabilities (rows, kv heads, group, keys) for query and keys by head."""
        scores = np.einsum("rhgd,shd->rhgs", query, keys)
        if self.bias is not None:
            bias = launch[self.bias]
            by_row = bias.reshape(-1, self.heads, bias.shape[-1])
            scores = scores + by_row[: len(query), :, : len(keys)].reshape(scores.shape)
        scores = scores * self.scale
        if self.is_causal:
            scores = self._masked(scores, launch.start)
        return _softmax(scores, None if self.sinks is None else launch[self.sinks])

    def _masked(self, scores: Array, start: int) -> Array:
        """Return scores (rows, kv heads, group, keys) with −∞ for keys that are not attended to."""
        keys: int = scores.shape[-1]
        position = start + np.arange(len(scores))
        distance = position[:, np.newaxis] - np.arange(keys)
        window = keys if self.window is None else self.window
        is_hidden = (distance < 0) | (distance >= window)
        return np.where(is_hidden[:, np.newaxis, np.newaxis], -np.inf, scores)

    def _num_pairs(self, rows: int, cached_tokens: int) -> int:
        """Return the number of pairs of a row and a key that it attends to."""
        if not self.is_causal:
            return rows * rows
        if self.window is None:
            return rows * cached_tokens + rows * (rows + 1) // 2
        growing = min(rows, max(0, self.window - cached_tokens))
        """Rows that attend to the whole sequence before them."""
        seen = growing * cached_tokens + growing * (growing + 1) // 2
        return seen + (rows - growing) * self.window


@dataclass(frozen=True, slots=True)
class Attention(_Attending):
    """Scaled dot-product attention; two-dimensional.

    Query head h, the h-th group of features, attends to key and value head h // (heads / kv_heads):
    `result[r, h] = Σₛ softmaxₛ(scale · query[r, h] · key[s, …]) · value[s, …]`. If causal, s runs
    over the rows of this launch and of earlier launches of the sequence, whose keys and values are
    cached, up to position start + r; else over the rows of this launch. A bias is added before the
    scale: `scale · (query[r, h] · key[s, …] + bias[r, h, s])`. A window limits s: s > start + r −
    window.
    """

    part = LayerPart.ATTENTION

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
    """A parameter of shape (rows · heads, rows), with row r of head h as row r · heads + h; only if
    not causal. A mask has large negative numbers for keys that are not attended to."""
    window: int | None = None
    """The most rows that a row attends to, itself and those right before it; only if causal. None:
    all."""
    sinks: ParameterName | None = None
    """A parameter of shape (heads,): scores of a key that every row attends to and whose value is
    0."""
    cached_features: int | None = None
    """Numbers that are cached for each token, if keys and values share some; None: key and
    value."""
    factors: ValueName | None = None
    """Dropout factors of the probabilities, shape (rows, heads · positions), one head after the
    other. There are as many positions as rows, or if causal those of the whole sequence."""
    drawn: Draw | None = None
    """A draw of such factors: its features are those of one head after the other, with the same
    number of positions for each head, at least the positions of the sequence."""
    kept_as: str | None = None
    """If recomputed, the result of the forward pass whose cached keys and values it reads."""

    @property
    def attention(self) -> str:
        return self.result.name

    def keeping_as(self, name: str) -> Attention:
        return replace(self, kept_as=name)

    def unnumbered(self) -> Attention:
        """Return the operation with dropout number 0, and its own cache."""
        drawn = self.drawn and replace(self.drawn, number=0)
        return replace(self, drawn=drawn, kept_as=None)

    @property
    def operands(self) -> tuple[str, str, str]:
        """The names of query, key and value."""
        return self.query, self.key, self.value

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return the rows of the query with the features of the value, for every query head."""
        features = tensors[self.value].shape[-1] // self.kv_heads * self.heads
        return (tensors[self.query].shape[0], features)

    def wrong_number(self) -> str | None:
        if not 0 < self.scale < math.inf:
            return f"the scale is {self.scale}, must be positive"
        return None if self.draw is None else self.draw.wrong_number()

    def wrong_operand(self, tensors: Tensors) -> str | None:
        heads, kv_heads = self.heads, self.kv_heads
        if heads < 1 or kv_heads < 1 or heads % kv_heads:
            return (
                f"it has {heads} heads over {kv_heads} key and value heads, which must divide them"
            )
        query, key, value = (tensors[name] for name in self.operands)
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
        """Return an error about factors, draw, sinks, window or bias, or None."""
        if self.factors is not None:
            factors, expected = tensors[self.factors].shape, (rows, self.heads * rows)
            positions = factors[-1] / self.heads
            is_longer = self.is_causal and positions > rows and positions.is_integer()
            if factors != expected and not (is_longer and factors[:-1] == expected[:-1]):
                return (
                    f"the factors have shape {factors}, must be (rows, heads · rows) = {expected}"
                )
        if self.draw is not None:
            if self.factors is not None:
                return "it has factors and draws some"
            features = self.draw.features
            if features % self.heads or features < rows * self.heads:
                return f"it draws {features} features, not those of {self.heads} heads"
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
        return self.count_flop_after(tensors, 0)

    def count_flop_after(self, tensors: Tensors, cached_tokens: int) -> int:
        rows, query_features = tensors[self.query].shape
        result_features = self.result.shape[-1]
        pairs = self._num_pairs(rows, cached_tokens)
        products = 2 * pairs * (query_features + result_features)
        softmax = SOFTMAX_FLOP + (self.bias is not None) + self.has_dropout
        return products + softmax * pairs * self.heads + rows * result_features

    def count_product_flop(self, tensors: Tensors, *, cached_tokens: int = 0) -> int:
        """Return the FLOP of its products with every key, masked or not."""
        rows, query_features = tensors[self.query].shape
        keys = tensors[self.key].shape[0] + (cached_tokens if self.is_causal else 0)
        return 2 * rows * keys * (query_features + self.result.shape[-1])

    def count_token_features(self, tensors: Tensors) -> int:
        """Return the numbers that it caches for each token."""
        is_there = self.kept_as is not None  # the forward pass has cached it
        return 0 if is_there else self._count_cached_features(tensors)

    def _count_cached_features(self, tensors: Tensors) -> int:
        if not self.is_causal:
            return 0
        if self.cached_features is not None:
            return self.cached_features
        return tensors[self.key].shape[-1] + tensors[self.value].shape[-1]

    def count_cached(self, tensors: Tensors, cached_tokens: int) -> int:
        """Return the elements of earlier tokens in its window."""
        seen = cached_tokens if self.window is None else min(cached_tokens, self.window - 1)
        return seen * self._count_cached_features(tensors)

    def evaluate(self, launch: Launch) -> Array:
        query, keys, values = (launch[name] for name in self.operands)
        if self.is_causal:
            keys, values = launch.append(self.kept_name, keys, values)
        probabilities = self._probabilities(launch, self._by_head(query), self._by_kv_head(keys))
        factors = self._factors(launch, probabilities)
        probabilities = probabilities if factors is None else probabilities * factors
        result = np.einsum("rhgs,shd->rhgd", probabilities, self._by_kv_head(values))
        return result.reshape(len(query), -1)

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        """Add one operation for the gradients of query, key and value, and slices of its result."""
        operands = self.operands
        for name in (*self.activation_operands, *self.parameter_operands):
            if name not in operands:
                backward.refuse(self, name, "only those of query, key and value are")
        if not any(map(backward.needs, operands)):
            return
        sizes = [backward.shape(name)[-1] for name in operands]
        together = backward.compute(
            f"{self.result.name}.gradients",
            (backward.shape(self.query)[0], sum(sizes)),
            AttentionGradient,
            gradient,
            self.result.name,
            self.query,
            self.key,
            self.value,
            self.heads,
            self.kv_heads,
            self.scale,
            is_causal=self.is_causal,
            bias=self.bias,
            window=self.window,
            sinks=self.sinks,
            factors=self.factors,
            drawn=self.drawn,
            kept_as=self.kept_as,
        )
        for index, name in enumerate(operands):
            backward.give(name, AttentionOperandGradient, together, name, sum(sizes[:index]))


@dataclass(frozen=True, slots=True)
class AttentionGradient(_Attending):
    """Compute the gradients of query, key and value of an `Attention`, side by side in a row.

    The probabilities P are recomputed. With scores S = scale · (query · key), result O and gradient
    G: `dP = G · value`, `dS = P · (dP − Σ G · O)`, and the row is
    `[scale · dS · key, scale · dSᵀ · query, Pᵀ · G]`. With factors M of P, `dP = M · (G · value)`,
    and the last part is `(M · P)ᵀ · G`.

    If causal, the launch may have some rows of a sequence, whose launches are then processed from
    the last to the first. Its gradients of the keys and values of earlier launches are kept, and
    added by the launch that ends where it begins.
    """

    gradient: ValueName
    attended: ValueName
    """The result of the attention, of shape (rows, heads · value features)."""
    query: ValueName
    key: ValueName
    value: ValueName
    heads: int
    kv_heads: int
    scale: float
    is_causal: bool
    bias: ParameterName | None = None
    window: int | None = None
    sinks: ParameterName | None = None
    factors: ValueName | None = None
    drawn: Draw | None = None
    kept_as: str | None = None

    @property
    def attention(self) -> str:
        return self.attended

    def keeping_as(self, name: str) -> AttentionGradient:
        return replace(self, kept_as=name)

    def unnumbered(self) -> AttentionGradient:
        """Return the operation with dropout number 0, and its own cache."""
        drawn = self.drawn and replace(self.drawn, number=0)
        return replace(self, drawn=drawn, kept_as=None)

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return the rows of the query with the features of query, key and value."""
        features = sum(tensors[name].shape[-1] for name in (self.query, self.key, self.value))
        return (tensors[self.query].shape[0], features)

    def wrong_operand(self, tensors: Tensors) -> str | None:
        return wrong_gradient(tensors[self.gradient], tensors[self.attended].shape)

    def count_flop(self, tensors: Tensors) -> int:
        """Return the floating point operations of a launch: five products and the softmax."""
        rows, query_features = tensors[self.query].shape
        value_features = tensors[self.attended].shape[-1]
        pairs = self._num_pairs(rows, 0)
        products = 2 * pairs * (3 * query_features + 2 * value_features)
        more = 2 * self.has_dropout
        scores = (SOFTMAX_FLOP + _GRADIENT_FLOP + more) * pairs * self.heads
        return products + scores + 2 * rows * value_features

    def count_product_flop(self, tensors: Tensors, *, cached_tokens: int = 0) -> int:
        """Return the FLOP of its products with every key, masked or not."""
        del cached_tokens
        rows, query_features = tensors[self.query].shape
        return 2 * rows * rows * (3 * query_features + 2 * tensors[self.attended].shape[-1])

    def evaluate(self, launch: Launch) -> Array:
        if not self.is_causal:
            _require_whole(launch)
        names = self.gradient, self.attended, self.query, self.key, self.value
        gradient, attended, query, keys, values = (launch[name] for name in names)
        keys, values = launch.cached(self.kept_name, keys, values)
        by_head, by_key = self._by_head(query), self._by_kv_head(keys)
        probabilities = self._probabilities(launch, by_head, by_key)
        given = self._by_head(gradient)
        inner = (given * self._by_head(attended)).sum(axis=-1, keepdims=True)
        moved = np.einsum("rhgd,shd->rhgs", given, self._by_kv_head(values))
        factors = self._factors(launch, probabilities)
        mixed = probabilities if factors is None else probabilities * factors
        moved = moved if factors is None else moved * factors
        scores = probabilities * (moved - inner) * self.scale
        of_query = np.einsum("rhgs,shd->rhgd", scores, by_key)
        of_key = np.einsum("rhgs,rhgd->shd", scores, by_head)
        of_value = np.einsum("rhgs,rhgd->shd", mixed, given)
        if self.is_causal:
            of_key, of_value = launch.carry(self.result.name, of_key, of_value)
        of_operands = of_query, of_key, of_value
        return np.concatenate([part.reshape(len(query), -1) for part in of_operands], axis=-1)


@dataclass(frozen=True, slots=True)
class AttentionOperandGradient(Operation):
    """Take the gradient of query, key or value from the row of an `AttentionGradient`."""

    element_flop = 0

    gradients: ValueName
    operand: ValueName
    """The query, key or value, of which only the shape is read."""
    first: int
    """The number of features of the gradients before it."""

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        return tensors[self.operand].shape

    def wrong_operand(self, tensors: Tensors) -> str | None:
        rows, features = tensors[self.operand].shape
        gradients = tensors[self.gradients].shape
        if gradients[0] == rows and 0 <= self.first <= gradients[-1] - features:
            return None
        return (
            f"gradients of shape {gradients} have no {rows} rows of {features} features from "
            f"{self.first} on"
        )

    def read_activations(self, tensors: Tensors) -> tuple[Tensor, ...]:
        """Return the features that it takes."""
        del tensors
        return (self.result,)

    def evaluate(self, launch: Launch) -> Array:
        end = self.first + self.result.shape[-1]
        return launch[self.gradients][:, self.first : end]


def _require_whole(launch: Launch) -> None:
    """Raise HostError unless a launch begins at the first token of its sequence."""
    if launch.start:
        raise HostError(f"a launch that starts at {launch.start} is no whole sequence")


def _softmax(scores: Array, sinks: Array | None) -> Array:
    """Return the softmax of scores (rows, kv heads, group, keys); a sink adds to the sum only."""
    top = scores.max(axis=-1, keepdims=True)
    if sinks is None:
        probabilities = np.exp(scores - top)
        return probabilities / probabilities.sum(axis=-1, keepdims=True)
    sinks = sinks.reshape(1, *scores.shape[1:3], 1)
    top = np.maximum(top, sinks)
    probabilities = np.exp(scores - top)
    return probabilities / (probabilities.sum(axis=-1, keepdims=True) + np.exp(sinks - top))
