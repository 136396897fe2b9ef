"""The operations of a mesh program, a file a family: `operation` says what each answers."""

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
from onewafer.mesh.operations.collectives import Broadcast, BroadcastStore, ChainMax, ChainReduce
from onewafer.mesh.operations.dense import Factor, Matmul, Matmuls, Split, Turn
from onewafer.mesh.operations.elementwise import (
    Activation,
    Add,
    AddBias,
    Convert,
    Copy,
    Multiply,
    Relu,
    Scale,
    ScaleFeatures,
)
from onewafer.mesh.operations.group_softmax import DivideGroups, FindGroupMaxima, WeighGroups
from onewafer.mesh.operations.maps import Convolve, MaxPool, MeanRows, ScaleMaps, WeighTaps
from onewafer.mesh.operations.norms import (
    Normalize,
    StoreNormalized,
    SumGroups,
    SumRowSquares,
    SumSquares,
)
from onewafer.mesh.operations.operation import Conflicts, DataDependence, MeshOperation
from onewafer.mesh.operations.products import MultiplyBlocks, ProductShape
from onewafer.mesh.operations.selection import Claim, FindLargest, TakeFeatures, TakeIndex
from onewafer.mesh.operations.tokens import LookUpPositions, LookUpTokens, Rotate, TakeRow

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
    "Copy",
    "DataDependence",
    "Divide",
    "DivideGroups",
    "Factor",
    "FindGroupMaxima",
    "FindLargest",
    "FindMaxima",
    "LookUpPositions",
    "LookUpTokens",
    "Matmul",
    "Matmuls",
    "MaxPool",
    "MeanRows",
    "MeshOperation",
    "Multiply",
    "MultiplyBlocks",
    "Normalize",
    "ProductShape",
    "ReduceScores",
    "Relu",
    "Rotate",
    "Scale",
    "ScaleFeatures",
    "ScaleMaps",
    "Score",
    "Share",
    "Split",
    "StoreNormalized",
    "SumGroups",
    "SumRowSquares",
    "SumSquares",
    "SumValues",
    "TakeFeatures",
    "TakeIndex",
    "TakeRow",
    "Turn",
    "Weigh",
    "WeighGroups",
    "WeighTaps",
]
