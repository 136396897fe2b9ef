"""A small graph for each class of operations, by the class of its last operation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.graph import (
    Activation,
    ActivationFunction,
    ActivationGradient,
    Add,
    AddBias,
    Attention,
    AttentionGradient,
    AttentionOperandGradient,
    BatchedMatmul,
    BatchedOuter,
    BatchMean,
    BatchNorm,
    BatchNormInputGradient,
    BatchNormWeightGradient,
    BatchVariance,
    Concatenate,
    Convolution,
    ConvolutionInputGradient,
    ConvolutionWeightGradient,
    CrossEntropy,
    CrossEntropyGradient,
    DataType,
    DepthwiseConvolution,
    DepthwiseInputGradient,
    DepthwiseWeightGradient,
    Dropout,
    ElementLoss,
    ElementLossGradient,
    Embedding,
    EmbeddingGradient,
    Exp,
    Experts,
    FirstRow,
    FirstRowGradient,
    Gather,
    GatherGradient,
    GlobalAveragePool,
    Graph,
    GroupNorm,
    GroupNormInputGradient,
    GroupNormWeightGradient,
    Keep,
    LastRow,
    LastRowGradient,
    LayerNorm,
    LayerNormInputGradient,
    LayerNormWeightGradient,
    Linear,
    LinearInputGradient,
    LinearWeightGradient,
    LogSoftmax,
    LogSoftmaxGradient,
    LossFunction,
    MaxPool,
    MaxPoolGradient,
    Multiply,
    NegativeLogLikelihood,
    NegativeLogLikelihoodGradient,
    Opaque,
    PositionEmbedding,
    PositionEmbeddingGradient,
    Recall,
    Reduction,
    Relu,
    ReluGradient,
    RepeatRows,
    RmsNorm,
    RmsNormInputGradient,
    RmsNormWeightGradient,
    Rotary,
    RotaryGradient,
    RowAt,
    RowAtGradient,
    Scale,
    ScaleFeatureMaps,
    ScaleFeatures,
    ScalePixels,
    ShiftPixels,
    SliceFeatures,
    Softmax,
    SoftmaxGradient,
    Softplus,
    SoftplusGradient,
    SumRows,
    SumSamples,
    Tensor,
    TopIndices,
    Window,
)

if TYPE_CHECKING:
    from onewafer.graph import Operation


def tensor(name: str, *shape: int) -> Tensor:
    return Tensor(name, shape, DataType.F32)


def indices(name: str, *shape: int) -> Tensor:
    return Tensor(name, shape, DataType.I32)


def graph(inputs: tuple[Tensor, ...], parameters: tuple[Tensor, ...], *ops: Operation) -> Graph:
    return Graph("example", inputs, parameters, ops, (ops[-1].result.name,))


X, Y = tensor("x", 4, 6), tensor("y", 4, 6)
GROUP_ROWS = tensor("z", 4, 3)
KEPT, VECTOR, GROUP = tensor("r", 4, 6), tensor("v", 6), tensor("g", 3)
PLACE = indices("place", 1, 1)
IDS, WINDOW = indices("ids", 4, 1), Window(2, 2, 2, 1, bottom=1)
COSINE, SINE = tensor("cosine", 9, 2), tensor("sine", 9, 2)
TABLE = tensor("table", 9, 6)
LIST = (
    graph((X,), (tensor("w", 5, 6),), Linear(tensor("r", 4, 5), "x", "w")),
    graph((X,), (VECTOR,), AddBias(KEPT, "x", "v")),
    graph((X,), (), Relu(KEPT, "x")),
    graph((X, Y), (), Add(KEPT, "x", "y")),
    graph((X, Y), (), Multiply(KEPT, "x", "y")),
    graph((X,), (VECTOR,), ScaleFeatures(KEPT, "x", "v")),
    graph((X,), (), Scale(KEPT, "x", -0.5)),
    graph((X,), (), Activation(KEPT, "x", ActivationFunction.SILU)),
    graph((X,), (), Exp(KEPT, "x")),
    graph((X, GROUP_ROWS), (), Concatenate(tensor("r", 4, 9), ("x", "z"))),
    graph((X,), (GROUP,), RmsNorm(KEPT, "x", "g", 1e-6, 2)),
    graph((X,), (GROUP, tensor("b", 3)), LayerNorm(KEPT, "x", "g", "b", 1e-6, 2)),
    graph((X,), (), Softmax(KEPT, "x", 3)),
    graph((IDS,), (TABLE,), Embedding(KEPT, "ids", "table")),
    graph((X,), (TABLE,), PositionEmbedding(KEPT, "table")),
    graph((X,), (COSINE, SINE), Rotary(KEPT, "x", "cosine", "sine", 3)),
    graph((X,), (), FirstRow(tensor("r", 1, 6), "x")),
    graph((X,), (), LastRow(tensor("r", 1, 6), "x")),
    graph((X, PLACE), (), RowAt(tensor("r", 1, 6), "x", "place")),
    graph(
        (X, tensor("k", 4, 3), tensor("f", 4, 8)),
        (tensor("s", 2),),
        Attention(
            *(KEPT, "x", "k", "k", 2, 1, 0.5), is_causal=True, window=2, sinks="s", factors="f"
        ),
    ),
    graph(
        (X,), (tensor("w", 2, 5, 6),), Convolution(tensor("r", 4, 5), "x", "w", WINDOW)
    ),
    graph((X,), (tensor("w", 2, 6),), DepthwiseConvolution(KEPT, "x", "w", WINDOW)),
    graph((X,), (), MaxPool(KEPT, "x", WINDOW)),
    graph((X,), (), GlobalAveragePool(tensor("r", 2, 6), "x", 2)),
    graph((X, tensor("f", 2, 6)), (), ScaleFeatureMaps(KEPT, "x", "f", 2)),
    graph((X,), (), TopIndices(indices("r", 4, 2), "x", 2)),
    graph((X,), (), TopIndices(indices("i", 4, 2), "x", 2), Gather(tensor("r", 4, 2), "x", "i")),
    graph((X, Y), (), BatchedMatmul(tensor("r", 4, 4), "x", "y", 2, 2, is_transposed=True)),
    graph(
        (X,),
        (tensor("up", 4, 8, 6), tensor("down", 4, 6, 8)),
        Experts(KEPT, "x", "x", ("up", "down"), 4, 2, 8),
    ),
    graph(
        (tensor("d", 4, 5),), (tensor("w", 5, 6),), LinearInputGradient(KEPT, "d", "w")
    ),
    graph((tensor("d", 4, 5), X), (), LinearWeightGradient(tensor("r", 5, 6), "d", "x")),
    graph((X,), (), SumRows(tensor("r", 3), "x", 2)),
    graph((X, Y), (), ReluGradient(KEPT, "x", "y")),
    graph((X, Y), (), ActivationGradient(KEPT, "x", "y", ActivationFunction.GELU)),
    graph((X, Y), (GROUP,), RmsNormInputGradient(KEPT, "x", "y", "g", 1e-6, 2)),
    graph((X, Y), (), RmsNormWeightGradient(tensor("r", 3), "x", "y", 1e-6, 2)),
    graph((X, Y), (GROUP,), LayerNormInputGradient(KEPT, "x", "y", "g", 1e-6, 2)),
    graph((X, Y), (), LayerNormWeightGradient(tensor("r", 3), "x", "y", 1e-6, 2)),
    graph((X, Y), (), RmsNormWeightGradient(tensor("r", 6), "x", "y", 1e-6, 2, is_shared=False)),
    graph((X, Y), (), SoftmaxGradient(KEPT, "x", "y", 3)),
    graph((X, Y), (), BatchedOuter(tensor("r", 6, 6), "x", "y", 2, 2)),
    graph((X,), (), SliceFeatures(tensor("r", 4, 2), "x", 3, 2)),
    graph((tensor("d", 4, 1), IDS), (), GatherGradient(KEPT, "d", "ids", 6)),
    graph((X, IDS), (), EmbeddingGradient(tensor("r", 9, 6), "x", "ids", 9)),
    graph((X, IDS), (), EmbeddingGradient(tensor("r", 9, 6), "x", "ids", 9, padding=2)),
    graph((X,), (), PositionEmbeddingGradient(tensor("r", 9, 6), "x", 9)),
    graph((X,), (COSINE, SINE), RotaryGradient(KEPT, "x", "cosine", "sine", 3)),
    graph((X,), (), FirstRow(tensor("f", 1, 6), "x"), FirstRowGradient(KEPT, "f", "x")),
    graph((X,), (), LastRow(tensor("f", 1, 6), "x"), LastRowGradient(KEPT, "f", "x")),
    graph(
        (X, PLACE),
        (),
        RowAt(tensor("f", 1, 6), "x", "place"),
        RowAtGradient(KEPT, "f", "x", "place"),
    ),
    graph(
        (X, Y, tensor("k", 4, 3)),
        (tensor("s", 2),),
        AttentionGradient(
            *(tensor("r", 4, 12), "y", "x", "x", "k", "k", 2, 1, 0.5),
            is_causal=True, window=2, sinks="s",
        ),
    ),
    graph((X, tensor("k", 4, 3)), (), AttentionOperandGradient(tensor("r", 4, 3), "x", "k", 2)),
    graph((X,), (), BatchMean(tensor("r", 1, 6), "x")),
    graph((X,), (), BatchVariance(tensor("r", 1, 6), "x")),
    graph((X,), (VECTOR, tensor("b", 6)), BatchNorm(KEPT, "x", "v", "b", 0.1)),
    graph((X, Y), (VECTOR,), BatchNormInputGradient(KEPT, "x", "y", "v", 0.1)),
    graph((X, Y), (), BatchNormWeightGradient(tensor("r", 6), "x", "y", 0.1)),
    graph((X,), (VECTOR, tensor("b", 6)), GroupNorm(KEPT, "x", "v", "b", 2, 3, 0.1)),
    graph((X, Y), (VECTOR,), GroupNormInputGradient(KEPT, "x", "y", "v", 2, 3, 0.1)),
    graph((X, Y), (), GroupNormWeightGradient(tensor("r", 6), "x", "y", 2, 3, 0.1)),
    graph((X,), (tensor("w", 2, 6),), ScalePixels(KEPT, "x", "w", 2)),
    graph((X,), (tensor("w", 2, 6),), ShiftPixels(KEPT, "x", "w", 2)),
    graph((X,), (), SumSamples(tensor("r", 2, 6), "x", 2)),
    graph((X,), (), RepeatRows(tensor("r", 12, 6), "x", 3)),
    graph(
        (tensor("d", 4, 5),),
        (tensor("w", 2, 5, 6),),
        ConvolutionInputGradient(KEPT, "d", "w", WINDOW),
    ),
    graph(
        (tensor("d", 4, 5), X),
        (),
        ConvolutionWeightGradient(tensor("r", 2, 5, 6), "d", "x", WINDOW),
    ),
    graph((X,), (tensor("w", 2, 6),), DepthwiseInputGradient(KEPT, "x", "w", WINDOW)),
    graph((X, Y), (), DepthwiseWeightGradient(tensor("r", 2, 6), "x", "y", WINDOW)),
    graph(
        (X, Y, tensor("z", 4, 6)), (), MaxPoolGradient(KEPT, "x", "y", "z", WINDOW)
    ),
    graph(
        (X, IDS), (VECTOR,), CrossEntropy(tensor("r", 1, 1), "x", "ids", "v", 3, 0.25)
    ),
    graph(
        (tensor("d", 4, 1), X, IDS),
        (VECTOR,),
        CrossEntropyGradient(KEPT, "d", "x", "ids", "v", reduction=Reduction.NONE),
    ),
    graph(
        (X, IDS), (VECTOR,), NegativeLogLikelihood(tensor("r", 1, 1), "x", "ids", "v", 3)
    ),
    graph(
        (tensor("d", 4, 1), X, IDS),
        (VECTOR,),
        NegativeLogLikelihoodGradient(KEPT, "d", "x", "ids", "v", reduction=Reduction.NONE),
    ),
    graph((X,), (), LogSoftmax(KEPT, "x", 2)),
    graph((X, Y), (), LogSoftmaxGradient(KEPT, "x", "y", 2)),
    graph(
        (X, Y),
        (VECTOR,),
        ElementLoss(tensor("r", 1, 1), "x", "y", LossFunction.BINARY_LOGITS, weights="v"),
    ),
    graph(
        (X, Y, tensor("z", 4, 6)),
        (),
        ElementLossGradient(KEPT, "z", "x", "y", LossFunction.HUBER, Reduction.NONE, 0.5, 2.0),
    ),
    graph((X,), (), Keep(KEPT, "x")),
    graph((X,), (), Dropout(KEPT, "x", 3, 1 << 14)),
    graph((X,), (), Recall(KEPT, "x")),
    graph((X,), (), Softplus(KEPT, "x", 2.0, 0.5)),
    graph((X, Y), (), SoftplusGradient(KEPT, "x", "y", 2.0, 0.5)),
    graph((X,), (), Opaque(KEPT, "aten.sort.default", ("x",), (), 2.5, keeps_rows=True)),
)  # fmt: skip
EXAMPLES = {type(each.operations[-1]): each for each in LIST}
