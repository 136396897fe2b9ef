"""Names that users have for the operations of the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.graph import (
    Add,
    AddBias,
    Attention,
    BatchedMatmul,
    BatchMean,
    BatchNorm,
    BatchVariance,
    CrossEntropy,
    Dropout,
    ElementLoss,
    FirstRow,
    LastRow,
    LayerNorm,
    Linear,
    Multiply,
    NegativeLogLikelihood,
    PositionEmbedding,
    RmsNorm,
    Rotary,
    RowAt,
    ScalePixels,
    ShiftPixels,
    Softmax,
)

if TYPE_CHECKING:
    from onewafer.graph import Operation

_NOUNS: dict[type, str] = {
    Add: "the sum",
    AddBias: "a bias",
    Attention: "attention",
    BatchMean: "BatchNorm",
    BatchNorm: "BatchNorm",
    BatchVariance: "BatchNorm",
    BatchedMatmul: "a batched matrix product",
    CrossEntropy: "cross entropy",
    Dropout: "a dropout",
    ElementLoss: "a loss of elements",
    FirstRow: "the first token",
    LastRow: "the last token",
    LayerNorm: "LayerNorm",
    Linear: "a linear layer",
    Multiply: "the product",
    NegativeLogLikelihood: "a likelihood",
    PositionEmbedding: "a position embedding",
    RmsNorm: "RMSNorm",
    Rotary: "a rotary embedding",
    RowAt: "a token that an argument names",
    ScalePixels: "a factor for each pixel",
    ShiftPixels: "a shift for each pixel",
    Softmax: "softmax",
}


def noun_of(operation: Operation) -> str:
    """Return a noun for an operation.

    >>> from onewafer.graph import DataType, Relu, Tensor
    >>> noun_of(Relu(Tensor("y", (1, 1), DataType.F32), "x"))
    'the Relu'
    """
    kind = type(operation)
    return _NOUNS.get(kind, f"the {kind.__name__}")
