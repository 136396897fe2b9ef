"""The FLOP and bytes of operations, on whatever machine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from onewafer.graph.operations import (
    Activation,
    Add,
    AddBias,
    Attention,
    BatchedMatmul,
    Convolution,
    DepthwiseConvolution,
    Embedding,
    Experts,
    FirstRow,
    Gather,
    GlobalAveragePool,
    LastRow,
    LayerNorm,
    Linear,
    MaxPool,
    Multiply,
    Opaque,
    PositionEmbedding,
    Relu,
    RmsNorm,
    Rotary,
    Scale,
    ScaleFeatureMaps,
    ScaleFeatures,
    Softmax,
    TopIndices,
)

if TYPE_CHECKING:
    from onewafer.graph.graph import Graph
    from onewafer.graph.operations import Operation

_RMS_NORM_FLOP = 4
"""An element: square, sum, scale by the row's factor, weight."""
_LAYER_NORM_FLOP = 7
"""An element: sum, subtract the mean, square, sum, scale by the row's factor, weight, bias."""
_ROTARY_FLOP = 3
"""An element: two products and their sum."""
_GATE_FLOP = 2
"""FLOP of a hidden feature of a gated expert: its function, and the product with the gate."""
_STACK_OF_VECTORS = 2
"""Dimensions of a vector for each expert."""
_SOFTMAX_FLOP = 5
"""An element: maximum, subtract it, exponential, sum, divide; a score: scale, not divide."""


def count_flop(graph: Graph, operation: Operation) -> int:
    """Return the floating point operations of one operation in a launch at position 0.

    A multiply-add counts as two, a function of one element as one, a search as a comparison of each
    element. Causal attention counts the keys that are not masked; a window counts all its taps,
    those outside the feature map too, as PyTorch does.
    """
    elements = operation.result.num_elements
    match operation:
        case Linear():
            return 2 * elements * graph.tensor(operation.input).shape[-1]
        case Convolution():
            taps = operation.window.num_taps
            return 2 * elements * taps * graph.tensor(operation.input).shape[-1]
        case DepthwiseConvolution():
            return 2 * elements * operation.window.num_taps
        case MaxPool():
            return elements * operation.window.num_taps
        case GlobalAveragePool():
            return elements * (operation.rows + 1)
        case (
            AddBias()
            | Relu()
            | Add()
            | Multiply()
            | ScaleFeatures()
            | ScaleFeatureMaps()
            | Scale()
            | Activation()
        ):
            return elements
        case RmsNorm():
            return _RMS_NORM_FLOP * elements
        case LayerNorm():
            return _LAYER_NORM_FLOP * elements
        case Rotary():
            return _ROTARY_FLOP * elements
        case Attention():
            return attention_flop(graph, operation)
        case Softmax():
            return _SOFTMAX_FLOP * elements
        case BatchedMatmul():
            return 2 * elements * (graph.tensor(operation.left).shape[-1] // operation.groups)
        case TopIndices():
            return graph.tensor(operation.input).num_elements
        case Embedding() | PositionEmbedding() | FirstRow() | LastRow() | Gather():
            return 0
        case Experts():
            return operation.result.shape[0] * _experts_flop(graph, operation)
        case Opaque():
            return round(operation.flop_per_element * elements)
        case _:
            raise TypeError(f"no rule for {operation}")


def count_product_flop(graph: Graph, *, cached_tokens: int = 0) -> int:
    """Return the floating point operations that `torch.utils.flop_counter` counts in a launch.

    It counts products of matrices only, and those of attention with every key, masked or not, of
    this launch and of `cached_tokens` before it.
    """
    return sum(_product_flop(graph, operation, cached_tokens) for operation in graph.operations)


def _product_flop(graph: Graph, operation: Operation, cached_tokens: int) -> int:
    match operation:
        case Linear() | Convolution() | DepthwiseConvolution() | BatchedMatmul():
            return count_flop(graph, operation)
        case Attention():
            rows, query_features = graph.tensor(operation.query).shape
            keys = graph.tensor(operation.key).shape[0]
            keys += cached_tokens if operation.is_causal else 0
            return 2 * rows * keys * (query_features + operation.result.shape[-1])
        case _:
            return 0


def attention_flop(graph: Graph, operation: Attention, *, cached_tokens: int = 0) -> int:
    """Return the floating point operations of an attention after some tokens of its sequence.

    Only causal attention sees them, and of those in its window only.
    """
    rows, query_features = graph.tensor(operation.query).shape
    result_features = operation.result.shape[-1]
    pairs = _num_pairs(rows, operation, cached_tokens)
    products = 2 * pairs * (query_features + result_features)
    softmax = _SOFTMAX_FLOP + (operation.bias is not None)
    return products + softmax * pairs * operation.heads + rows * result_features


def _num_pairs(rows: int, operation: Attention, cached_tokens: int) -> int:
    """Return how many keys all rows see together."""
    if not operation.is_causal:
        return rows * rows
    window = operation.window
    if window is None:
        return rows * cached_tokens + rows * (rows + 1) // 2
    growing = min(rows, max(0, window - cached_tokens))
    """Rows that see the whole sequence so far."""
    return growing * cached_tokens + growing * (growing + 1) // 2 + (rows - growing) * window


def _experts_flop(graph: Graph, operation: Experts) -> int:
    """Return the floating point operations for one row."""
    shapes = [graph.tensor(name).shape for name in operation.weights]
    products = sum(2 * math.prod(shape[1:]) for shape in shapes if len(shape) > _STACK_OF_VECTORS)
    biases = sum(math.prod(shape[1:]) for shape in shapes if len(shape) <= _STACK_OF_VECTORS)
    gate = _GATE_FLOP * operation.hidden_features
    joined = 2 * operation.result.shape[-1]
    return operation.experts_per_row * (products + biases + gate + joined)


def count_bytes(graph: Graph, operation: Operation) -> int:
    """Return the bytes of the operands and of the result in a launch at position 0, each once.

    Of a table and of the operand of `FirstRow`, `LastRow` and `Gather`, only what is looked
    up; of experts, those that the rows are expected to meet.
    """
    activations = sum(graph.tensor(name).num_bytes for name in {*operation.activation_operands})
    parameters = sum(graph.tensor(name).num_bytes for name in {*operation.parameter_operands})
    match operation:
        case Embedding() | PositionEmbedding():
            parameters = operation.result.num_bytes
        case Rotary():
            row_bytes = graph.tensor(operation.cosine).shape[-1] * operation.result.dtype.num_bytes
            parameters = 2 * operation.result.shape[0] * row_bytes
        case FirstRow() | LastRow():
            activations = operation.result.num_bytes
        case Gather():
            activations = operation.result.num_bytes + graph.tensor(operation.indices).num_bytes
        case Experts():
            parameters = round(parameters * share_of_experts(operation, operation.result.shape[0]))
        case Opaque(is_view=True):
            return 0
        case _:
            pass
    return activations + parameters + operation.result.num_bytes


def share_of_experts(operation: Experts, rows: int) -> float:
    """Return the expected share, 0 to 1, of the experts that at least one of the rows meets.

    A row misses an expert with probability 1 − k/E, all rows with (1 − k/E)^rows.
    """
    missed = 1 - operation.experts_per_row / operation.num_experts
    return 1 - missed**rows
