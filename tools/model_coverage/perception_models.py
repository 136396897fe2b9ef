"""Models of transformers that see and hear."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.model_coverage.model import Floats, Group, Model, Tokens
from tools.model_coverage.sizes import (
    BART,
    BLOCKS,
    IMAGE,
    LARGER_PICTURE,
    MLP,
    NO_CACHE,
    ONE_SEQUENCE,
    PICTURE,
    SOUND,
    TEXT,
    WAVE,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


def _vision(
    name: str,
    config: Mapping[str, object],
    inputs: Mapping[str, Tokens | Floats] = PICTURE,
) -> Model:
    return Model(name, Group.VISION, config, inputs)


VISION = (
    _vision("ViTModel", MLP | IMAGE),
    _vision("ViTForImageClassification", MLP | IMAGE),
    _vision("DeiTForImageClassification", MLP | IMAGE),
    _vision("BeitForImageClassification", MLP | IMAGE),
    _vision("Dinov2ForImageClassification", BLOCKS | IMAGE),
    _vision("ViTMAEModel", MLP | IMAGE | {"mask_ratio": 0.0}),
    _vision("IJepaForImageClassification", MLP | IMAGE),
    _vision("CLIPVisionModel", MLP | IMAGE),
    _vision("SiglipVisionModel", MLP | IMAGE),
    _vision(
        "SwinForImageClassification",
        {
            "image_size": 32,
            "patch_size": 4,
            "embed_dim": 16,
            "depths": [1, 1],
            "num_heads": [2, 4],
            "window_size": 4,
            "num_labels": 5,
        },
    ),
    _vision(
        "ConvNextForImageClassification",
        {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1], "num_labels": 5},
    ),
    _vision(
        "ResNetForImageClassification",
        {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "num_labels": 5},
    ),
    _vision(
        "MobileNetV2ForImageClassification",
        {"image_size": 32, "depth_multiplier": 0.25, "finegrained_output": False, "num_labels": 5},
    ),
    _vision(
        "SegformerForImageClassification",
        {
            "depths": [1, 1, 1, 1],
            "hidden_sizes": [8, 16, 24, 32],
            "num_attention_heads": [1, 2, 3, 4],
            "num_labels": 5,
        },
        LARGER_PICTURE,
    ),
    _vision(
        "PoolFormerForImageClassification",
        {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 24, 32], "num_labels": 5},
        LARGER_PICTURE,
    ),
    _vision(
        "PvtForImageClassification",
        {
            "image_size": 64,
            "depths": [1, 1, 1, 1],
            "hidden_sizes": [8, 16, 24, 32],
            "num_attention_heads": [1, 2, 3, 4],
            "num_labels": 5,
        },
        LARGER_PICTURE,
    ),
    _vision(
        "LevitForImageClassification",
        {
            "image_size": 64,
            "hidden_sizes": [16, 24, 32],
            "num_attention_heads": [2, 3, 4],
            "depths": [1, 1, 1],
            "key_dim": [8, 8, 8],
            "num_labels": 5,
        },
        LARGER_PICTURE,
    ),
)

AUDIO = (
    Model("Wav2Vec2ForCTC", Group.AUDIO, WAVE, SOUND),
    Model("HubertForCTC", Group.AUDIO, WAVE, SOUND),
    Model("WavLMForCTC", Group.AUDIO, WAVE, SOUND),
    Model(
        "WhisperForConditionalGeneration",
        Group.AUDIO,
        {name: size for name, size in BART.items() if name != "max_position_embeddings"}
        | {"num_mel_bins": 8, "max_source_positions": 16, "max_target_positions": 16},
        {"input_features": Floats((1, 8, 32)), "decoder_input_ids": Tokens((1, 6))},
        NO_CACHE,
    ),
    Model(
        "ASTForAudioClassification",
        Group.AUDIO,
        MLP
        | {"max_length": 32, "num_mel_bins": 16, "patch_size": 8}
        | {"frequency_stride": 8, "time_stride": 8},
        {"input_values": Floats((1, 32, 16))},
    ),
    Model(
        "Speech2TextForConditionalGeneration",
        Group.AUDIO,
        {name: size for name, size in BART.items() if name != "max_position_embeddings"}
        | {
            "max_source_positions": 64,
            "max_target_positions": 16,
            "input_feat_per_channel": 8,
            "conv_channels": 16,
        },
        {"input_features": Floats((1, 32, 8)), "decoder_input_ids": Tokens((1, 6))},
        NO_CACHE,
    ),
)

SEVERAL = (
    Model(
        "CLIPModel",
        Group.SEVERAL,
        {
            "projection_dim": 16,
            "text_config": TEXT | {"projection_dim": 16},
            "vision_config": MLP | {"image_size": 32, "patch_size": 8, "projection_dim": 16},
        },
        ONE_SEQUENCE | PICTURE,
    ),
    Model(
        "SiglipModel",
        Group.SEVERAL,
        {
            "text_config": TEXT | {"projection_size": 32},
            "vision_config": MLP | {"image_size": 32, "patch_size": 8},
        },
        ONE_SEQUENCE | PICTURE,
    ),
    Model(
        "ViltModel",
        Group.SEVERAL,
        TEXT | {"image_size": 32, "patch_size": 8},
        ONE_SEQUENCE | PICTURE,
    ),
)
