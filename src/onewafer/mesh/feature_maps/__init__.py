"""Operations on feature maps, of which each PE has all pixels."""

from onewafer.mesh.feature_maps.operations import (
    Convolve,
    ConvolveDepthwise,
    GlobalAveragePool,
    MaxPool,
    ScaleFeatureMaps,
)

__all__ = ["Convolve", "ConvolveDepthwise", "GlobalAveragePool", "MaxPool", "ScaleFeatureMaps"]
