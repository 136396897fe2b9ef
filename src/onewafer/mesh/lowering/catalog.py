"""The lowering of each graph operation."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from onewafer.errors import UnsupportedOperationError
from onewafer.graph import (
    Activation,
    Add,
    AddBias,
    Attention,
    BatchedMatmul,
    Convolution,
    DepthwiseConvolution,
    Embedding,
    FirstRow,
    Gather,
    GlobalAveragePool,
    LastRow,
    LayerNorm,
    Linear,
    MaxPool,
    Multiply,
    Operation,
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
from onewafer.mesh import operations as mesh
from onewafer.mesh.dense.lowering import LinearLowering
from onewafer.mesh.lowering.attention import AttentionLowering
from onewafer.mesh.lowering.elementwise import (
    ActivationLowering,
    PairLowering,
    ReluLowering,
    ScaleLowering,
    VectorLowering,
)
from onewafer.mesh.lowering.feature_maps import (
    ConvolutionLowering,
    DepthwiseConvolutionLowering,
    GlobalAveragePoolLowering,
    MaxPoolLowering,
    ScaleFeatureMapsLowering,
)
from onewafer.mesh.lowering.products import BatchedMatmulLowering
from onewafer.mesh.lowering.selection import GatherLowering, TopIndicesLowering
from onewafer.mesh.norms.lowering import LayerNormLowering, RmsNormLowering
from onewafer.mesh.norms.softmax_lowering import SoftmaxLowering
from onewafer.mesh.tokens.lowering import (
    EmbeddingLowering,
    FirstRowLowering,
    LastRowLowering,
    PositionEmbeddingLowering,
    RotaryLowering,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

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
    DepthwiseConvolution: DepthwiseConvolutionLowering(),
    MaxPool: MaxPoolLowering(),
    GlobalAveragePool: GlobalAveragePoolLowering(),
    ScaleFeatureMaps: ScaleFeatureMapsLowering(),
    TopIndices: TopIndicesLowering(),
    Gather: GatherLowering(),
    Softmax: SoftmaxLowering(),
    BatchedMatmul: BatchedMatmulLowering(),
}


def lowering_of(operation: Operation) -> Lowering[Any]:
    """Return the lowering of an operation; raise UnsupportedOperationError if there is none."""
    lowering = LOWERINGS.get(type(operation))
    if lowering is None:
        raise UnsupportedOperationError(f"{type(operation).__name__} is not supported on the wafer")
    return lowering


@contextmanager
def blamed_on(operation: Operation) -> Generator[None]:
    """Let a refusal inside name the result of an operation, which has a line in the user's code."""
    try:
        yield
    except UnsupportedOperationError as error:
        error.result = error.result or operation.result.name
        raise
