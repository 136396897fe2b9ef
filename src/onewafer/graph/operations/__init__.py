"""The operations of a graph: one class each, one file a family.

The class of an operation holds everything that is known of it without torch and without a wafer.
"""

from onewafer.graph.operations.attention import Attention
from onewafer.graph.operations.counted import Experts, Opaque
from onewafer.graph.operations.dense import AddBias, Linear
from onewafer.graph.operations.elementwise import (
    Activation,
    ActivationFunction,
    Add,
    Multiply,
    OfElement,
    Relu,
    Scale,
    ScaleFeatures,
)
from onewafer.graph.operations.feature_maps import (
    Convolution,
    DepthwiseConvolution,
    GlobalAveragePool,
    MaxPool,
    ScaleFeatureMaps,
)
from onewafer.graph.operations.layer_part import LayerPart
from onewafer.graph.operations.norms import LayerNorm, RmsNorm, Softmax
from onewafer.graph.operations.operation import Operation
from onewafer.graph.operations.products import BatchedMatmul
from onewafer.graph.operations.samples import OnSamples
from onewafer.graph.operations.selection import Concatenate, Gather, TopIndices
from onewafer.graph.operations.tokens import (
    Embedding,
    FirstRow,
    LastRow,
    PositionEmbedding,
    Rotary,
)
from onewafer.graph.operations.work import Work

__all__ = [
    "Activation",
    "ActivationFunction",
    "Add",
    "AddBias",
    "Attention",
    "BatchedMatmul",
    "Concatenate",
    "Convolution",
    "DepthwiseConvolution",
    "Embedding",
    "Experts",
    "FirstRow",
    "Gather",
    "GlobalAveragePool",
    "LastRow",
    "LayerNorm",
    "LayerPart",
    "Linear",
    "MaxPool",
    "Multiply",
    "OfElement",
    "OnSamples",
    "Opaque",
    "Operation",
    "PositionEmbedding",
    "Relu",
    "RmsNorm",
    "Rotary",
    "Scale",
    "ScaleFeatureMaps",
    "ScaleFeatures",
    "Softmax",
    "TopIndices",
    "Work",
]
