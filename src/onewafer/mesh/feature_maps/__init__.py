"""Operations on feature maps; each PE has all pixels of its features."""

from onewafer.mesh.feature_maps.convolutions import Convolve
from onewafer.mesh.feature_maps.gradients import (
    AddDepthwiseProducts,
    AddTapProducts,
    ConvolutionInputGradient,
    DepthwiseInputGradient,
    MaxPoolGradient,
    RepeatRows,
)
from onewafer.mesh.feature_maps.operations import (
    ConvolveDepthwise,
    GlobalAveragePool,
    MaxPool,
    ScaleFeatureMaps,
)

__all__ = [
    "AddDepthwiseProducts",
    "AddTapProducts",
    "ConvolutionInputGradient",
    "Convolve",
    "ConvolveDepthwise",
    "DepthwiseInputGradient",
    "GlobalAveragePool",
    "MaxPool",
    "MaxPoolGradient",
    "RepeatRows",
    "ScaleFeatureMaps",
]
