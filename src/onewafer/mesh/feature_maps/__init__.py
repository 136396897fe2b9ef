"""Operations on feature maps, of which each PE has all pixels."""

from onewafer.mesh.feature_maps.convolutions import Convolve
from onewafer.mesh.feature_maps.operations import (
    ConvolveDepthwise,
    GlobalAveragePool,
    MaxPool,
    ScaleFeatureMaps,
)

__all__ = ["Convolve", "ConvolveDepthwise", "GlobalAveragePool", "MaxPool", "ScaleFeatureMaps"]
