"""Which lowering belongs to which graph operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onewafer.errors import UnsupportedOperationError
from onewafer.graph import (
    Activation,
    Add,
    AddBias,
    Attention,
    BatchedMatmul,
    Convolution,
    Depthwise,
    Embedding,
    FirstRow,
    LastRow,
    LayerNorm,
    Linear,
    MaxPool,
    MeanRows,
    Multiply,
    Operation,
    PositionEmbedding,
    Relu,
    RmsNorm,
    Rotary,
    Scale,
    ScaleFeatures,
    ScaleMaps,
    Softmax,
    TakeFeatures,
    TopIndices,
)
from onewafer.mesh import operations as mesh
from onewafer.mesh.lowering.attention import AttentionLowering
from onewafer.mesh.lowering.dense import LinearLowering
from onewafer.mesh.lowering.elementwise import (
    ActivationLowering,
    PairLowering,
    ReluLowering,
    ScaleLowering,
    VectorLowering,
)
from onewafer.mesh.lowering.group_softmax import SoftmaxLowering
from onewafer.mesh.lowering.maps import (
    ConvolutionLowering,
    DepthwiseLowering,
    MaxPoolLowering,
    MeanRowsLowering,
    ScaleMapsLowering,
)
from onewafer.mesh.lowering.norms import LayerNormLowering, RmsNormLowering
from onewafer.mesh.lowering.products import BatchedMatmulLowering
from onewafer.mesh.lowering.selection import TakeFeaturesLowering, TopIndicesLowering
from onewafer.mesh.lowering.tokens import (
    EmbeddingLowering,
    FirstRowLowering,
    LastRowLowering,
    PositionEmbeddingLowering,
    RotaryLowering,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.mesh.lowering.lowering import Lowering

LOWERINGS: Mapping[type[Operation], Lowering[Any]] = {
    Linear: LinearLowering(),
    AddBias: VectorLowering[AddBias](mesh.AddBias),
    ScaleFeatures: VectorLowering[ScaleFeatures](mesh.ScaleFeatures),
    Relu: ReluLowering(),
    Add: PairLowering[Add](mesh.Add),
    Multiply: PairLowering[Multiply](mesh.Multiply),
    Scale: ScaleLowering(),
    Activation: ActivationLowering(),
    RmsNorm: RmsNormLowering(),
    LayerNorm: LayerNormLowering(),
    Embedding: EmbeddingLowering(),
    PositionEmbedding: PositionEmbeddingLowering(),
    Rotary: RotaryLowering(),
    Attention: AttentionLowering(),
    FirstRow: FirstRowLowering(),
    LastRow: LastRowLowering(),
    Convolution: ConvolutionLowering(),
    Depthwise: DepthwiseLowering(),
    MaxPool: MaxPoolLowering(),
    MeanRows: MeanRowsLowering(),
    ScaleMaps: ScaleMapsLowering(),
    TopIndices: TopIndicesLowering(),
    TakeFeatures: TakeFeaturesLowering(),
    Softmax: SoftmaxLowering(),
    BatchedMatmul: BatchedMatmulLowering(),
}


def lowering_of(operation: Operation) -> Lowering[Any]:
    """Return the lowering of an operation; raise UnsupportedOperationError if there is none."""
    lowering = LOWERINGS.get(type(operation))
    if lowering is None:
        raise UnsupportedOperationError(
            f"{type(operation).__name__} that defines {operation.result.name!r}: "
            "the mesh program has no form of it"
        )
    return lowering
