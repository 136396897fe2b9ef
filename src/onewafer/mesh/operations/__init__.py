"""The operations of a mesh program, a file a family: `operation` says what each answers."""

from onewafer.mesh.collectives import Convert, Redistribute
from onewafer.mesh.collectives.operations import Broadcast, BroadcastStore, ChainMax, ChainReduce
from onewafer.mesh.dense.operations import Factor, Matmul, Matmuls, Split
from onewafer.mesh.norms.operations import (
    Normalize,
    StoreNormalized,
    SumGroups,
    SumRowSquares,
    SumSquares,
)
from onewafer.mesh.norms.softmax_operations import DivideGroups, FindGroupMaxima, WeighGroups
from onewafer.mesh.operation import Conflicts, DataDependence, MeshOperation
from onewafer.mesh.operations.attention import (
    Append,
    BiasScores,
    BroadcastScores,
    Divide,
    FindMaxima,
    ReduceScores,
    Score,
    Share,
    SumValues,
    Weigh,
)
from onewafer.mesh.operations.attention_shape import AttentionShape
from onewafer.mesh.operations.elementwise import (
    Activation,
    Add,
    AddBias,
    Copy,
    Multiply,
    Relu,
    Scale,
    ScaleFeatures,
)
from onewafer.mesh.operations.feature_maps import (
    Convolve,
    ConvolveDepthwise,
    GlobalAveragePool,
    MaxPool,
    ScaleFeatureMaps,
)
from onewafer.mesh.operations.products import MultiplyBlocks, ProductShape
from onewafer.mesh.operations.selection import Claim, FindLargest, Gather, TakeIndex
from onewafer.mesh.tokens.operations import LookUpPositions, LookUpTokens, Rotate, TakeRow

__all__ = [
    "Activation",
    "Add",
    "AddBias",
    "Append",
    "AttentionShape",
    "BiasScores",
    "Broadcast",
    "BroadcastScores",
    "BroadcastStore",
    "ChainMax",
    "ChainReduce",
    "Claim",
    "Conflicts",
    "Convert",
    "Convolve",
    "ConvolveDepthwise",
    "Copy",
    "DataDependence",
    "Divide",
    "DivideGroups",
    "Factor",
    "FindGroupMaxima",
    "FindLargest",
    "FindMaxima",
    "Gather",
    "GlobalAveragePool",
    "LookUpPositions",
    "LookUpTokens",
    "Matmul",
    "Matmuls",
    "MaxPool",
    "MeshOperation",
    "Multiply",
    "MultiplyBlocks",
    "Normalize",
    "ProductShape",
    "Redistribute",
    "ReduceScores",
    "Relu",
    "Rotate",
    "Scale",
    "ScaleFeatureMaps",
    "ScaleFeatures",
    "Score",
    "Share",
    "Split",
    "StoreNormalized",
    "SumGroups",
    "SumRowSquares",
    "SumSquares",
    "SumValues",
    "TakeIndex",
    "TakeRow",
    "Weigh",
    "WeighGroups",
]
