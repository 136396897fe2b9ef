"""How much an operation computes and touches when several sequences go on at once.

`count_flop` and `count_bytes` are of one launch at position 0, in the graph's own format. Here the
rows of a graph are the new tokens of each of some sequences that have tokens behind them, and what
is touched is counted in elements, since the formats of weights and of results may differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.graph.counts import attention_flop, count_flop, share_of_experts
from onewafer.graph.operations import (
    Attention,
    Embedding,
    Experts,
    FirstRow,
    LastRow,
    Opaque,
    PositionEmbedding,
    Rotary,
)

if TYPE_CHECKING:
    from onewafer.graph.graph import Graph
    from onewafer.graph.operations import Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The work of an operation in one pass, on whatever machine."""

    flop: int
    """A multiply-add counts as two."""
    weights: int
    """Elements of parameters that are read, each once, however many sequences there are; of experts
    those that all rows are expected to meet."""
    activations: int
    """Elements of operands and results, each once, keys and values of new tokens included."""
    cached: int
    """Elements of keys and values of earlier tokens that are read, each once."""


def count_work(
    graph: Graph, operation: Operation, *, sequences: int = 1, cached_tokens: int = 0
) -> Work:
    """Return the work of one operation for equal sequences; its graph has the new tokens of one.

    Only causal attention has earlier tokens: others read all rows of the pass, and no more.
    """
    own = sum(graph.tensor(name).num_elements for name in {*operation.activation_operands})
    weights = sum(graph.tensor(name).num_elements for name in {*operation.parameter_operands})
    result = operation.result.num_elements
    flop, cached = count_flop(graph, operation), 0
    match operation:
        case Attention():
            flop = attention_flop(graph, operation, cached_tokens=cached_tokens)
            cached = _cached_elements(graph, operation, cached_tokens)
        case Embedding() | PositionEmbedding():
            weights = result * sequences
        case Rotary():
            positions = operation.result.shape[0]
            weights = 2 * positions * graph.tensor(operation.cosine).shape[-1]
        case FirstRow() | LastRow():
            own = result
        case Experts():
            rows = operation.result.shape[0] * sequences
            weights = round(weights * share_of_experts(operation, rows))
        case Opaque(is_view=True):
            return Work(flop=0, weights=0, activations=0, cached=0)
        case _:
            pass
    return Work(
        flop=flop * sequences,
        weights=weights,
        activations=(own + result) * sequences,
        cached=cached * sequences,
    )


def cached_features(graph: Graph, operation: Attention) -> int:
    """Return how many numbers an attention keeps of each token for later ones."""
    if not operation.is_causal:
        return 0
    if operation.cached_features is not None:
        return operation.cached_features
    return graph.tensor(operation.key).shape[-1] + graph.tensor(operation.value).shape[-1]


def _cached_elements(graph: Graph, operation: Attention, cached_tokens: int) -> int:
    features = cached_features(graph, operation)
    seen = cached_tokens
    if operation.window is not None:
        seen = min(seen, operation.window - 1)
    return seen * features
