"""The work of a training step on any machine: graphs of whole sequences, and their model FLOP.

In: a model. Out: graphs in which every token predicts its successor, and the FLOP per token that
count for MFU: products only, forward once and backward twice, without recomputation. Experts count
if a token is routed to them (active weights), and so does the routing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import singledispatch
from typing import TYPE_CHECKING

from onewafer.graph import (
    AddBias,
    Attention,
    BatchedMatmul,
    BatchNorm,
    Convolution,
    DepthwiseConvolution,
    Experts,
    LastRow,
    Linear,
    ScaleFeatures,
    with_rows,
)
from onewafer.perf.checks import check_sequence
from onewafer.perf.expanded_attention import with_expanded_attention
from onewafer.perf.expert_networks import network_of

if TYPE_CHECKING:
    from onewafer.graph import Graph, Operation, Segment
    from onewafer.perf.model import Model

BACKWARD_PRODUCTS = 2
"""Backward products per forward product: gradients of the input and of the weight."""

_NORMALIZED = (Convolution, DepthwiseConvolution, Linear)
"""Operations whose results a batch norm may follow."""
_EPSILON = 1e-5
"""PyTorch's default; no time depends on it."""


class AttentionPairs(StrEnum):
    """The pairs of tokens that count as model FLOP of causal attention."""

    ALL = "all"
    """Chowdhery et al. (PaLM, arXiv 2204.02311), appendix B: 12 · layers · heads · head features ·
    tokens for each token of a sequence. Megatron-LM of 2024 prints it so, Llama 3 cites it."""
    CAUSAL = "causal"
    """Only pairs that the mask admits; Megatron-Bridge of 2025 prints this."""


@dataclass(frozen=True, slots=True)
class TrainingPiece:
    """One of the equal pieces of a segment; every row is a token with a successor."""

    segment: Segment
    graph: Graph

    @property
    def repeats(self) -> int:
        """Number of equal pieces in sequence."""
        return self.segment.repeats


def training_pieces(model: Model, sequence: int) -> tuple[TrainingPiece, ...]:
    """Return the pieces of a model for one whole sequence, or one sample of feature maps.

    Raise ConfigurationError for a sequence that the model was not made for.
    """
    check_sequence(model, sequence)
    if model.has_feature_maps:
        segments = (replace(s, graph=with_batch_norms(s.graph)) for s in model.segments)
        return tuple(TrainingPiece(segment, segment.graph) for segment in segments)
    return tuple(
        TrainingPiece(segment, all_rows(model.graph_for(segment, sequence)))
        for segment in map(with_expanded_attention, model.segments)
    )


def with_batch_norms(graph: Graph) -> Graph:
    """Put batch norms back into a graph of inference, which has them folded.

    Folded, a norm with running statistics is a scale and a shift of each output feature of a
    convolution, or of a product at every pixel.
    """
    sources = {operation.result.name: operation for operation in graph.operations}
    norms: dict[str, BatchNorm] = {}
    """Name of the shift's result → the norm."""
    scales: set[str] = set()
    for shift in graph.operations:
        scale = sources.get(shift.input) if isinstance(shift, AddBias) else None
        if not (isinstance(shift, AddBias) and isinstance(scale, ScaleFeatures)):
            continue
        if isinstance(sources.get(scale.input), _NORMALIZED):
            operands = scale.input, scale.factors, shift.bias
            norms[shift.result.name] = BatchNorm(shift.result, *operands, _EPSILON)
            scales.add(scale.result.name)
    operations = (norms.get(op.result.name, op) for op in graph.operations)
    kept = tuple(op for op in operations if op.result.name not in scales)
    return replace(graph, operations=kept)


def all_rows(graph: Graph) -> Graph:
    """Remove `LastRow` operations, so that all tokens go through the rest of the graph."""
    sources = {op.result.name: op.input for op in graph.operations if isinstance(op, LastRow)}
    if not sources:
        return graph
    kept = [op for op in graph.operations if not isinstance(op, LastRow)]
    operations = tuple(operation.renamed(sources) for operation in kept)
    outputs = tuple(sources.get(name, name) for name in graph.outputs)
    rows = graph.inputs[0].shape[0]
    return with_rows(replace(graph, operations=operations, outputs=outputs), rows)


@singledispatch
def product_flop(operation: Operation, graph: Graph, pairs: AttentionPairs) -> int:
    """Return the FLOP of an operation's products for one sequence."""
    del operation, graph, pairs
    return 0


@product_flop.register(BatchedMatmul | Convolution | DepthwiseConvolution | Linear)
def _(
    operation: BatchedMatmul | Convolution | DepthwiseConvolution | Linear,
    graph: Graph,
    pairs: AttentionPairs,
) -> int:
    del pairs
    return operation.count_flop(graph.by_name)


@product_flop.register(Attention)
def _(operation: Attention, graph: Graph, pairs: AttentionPairs) -> int:
    query_rows, query_features = graph.tensor(operation.query).shape
    features = query_features + operation.result.shape[-1]
    return 2 * _num_pairs(query_rows, operation, pairs) * features


@product_flop.register(Experts)
def _(operation: Experts, graph: Graph, pairs: AttentionPairs) -> int:
    del pairs
    return operation.result.shape[0] * network_of(graph, operation).flop_per_row


def _num_pairs(rows: int, operation: Attention, pairs: AttentionPairs) -> int:
    window = min(rows, operation.window or rows)
    if pairs is AttentionPairs.ALL or not operation.is_causal:
        return rows * window
    return window * (window + 1) // 2 + (rows - window) * window


def model_flop_per_token(model: Model, sequence: int, pairs: AttentionPairs) -> float:
    """Return the training FLOP of one token, forward and backward."""
    forward = sum(
        piece.repeats * product_flop(operation, piece.graph, pairs)
        for piece in training_pieces(model, sequence)
        for operation in piece.graph.operations
    )
    return (1 + BACKWARD_PRODUCTS) * forward / sequence
