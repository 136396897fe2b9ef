"""Configurations that several classes of transformers share: as small as they allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.model_coverage.model import Floats, Tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

VOCABULARY = {"vocab_size": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
BLOCKS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
MLP = BLOCKS | {"intermediate_size": 48}
POSITIONS = {"max_position_embeddings": 32}
TEXT = VOCABULARY | MLP | POSITIONS
GROUPED = TEXT | {"num_key_value_heads": 2}
WITH_HEADS = GROUPED | {"head_dim": 8}
EXPERTS = GROUPED | {"moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2}
IMAGE = {"image_size": 32, "patch_size": 8, "num_labels": 5}
GPT = VOCABULARY | {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 32}
BART = (
    VOCABULARY
    | POSITIONS
    | {
        "d_model": 32,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 48,
        "decoder_ffn_dim": 48,
        "decoder_start_token_id": 1,
        "forced_eos_token_id": 1,
    }
)
T5 = VOCABULARY | {
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 2,
    "num_heads": 4,
    "decoder_start_token_id": 0,
}
WAVE = BLOCKS | {
    "vocab_size": 32,
    "intermediate_size": 48,
    "conv_dim": (32, 32),
    "conv_kernel": (10, 4),
    "conv_stride": (5, 4),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 4,
}

ONE_SEQUENCE = {"input_ids": Tokens((1, 8))}
TWO_SEQUENCES = {"input_ids": Tokens((1, 8)), "decoder_input_ids": Tokens((1, 6))}
PICTURE = {"pixel_values": Floats((1, 3, 32, 32))}
LARGER_PICTURE = {"pixel_values": Floats((1, 3, 64, 64))}
SOUND = {"input_values": Floats((1, 400))}
NO_CACHE: Mapping[str, object] = {"use_cache": False}
