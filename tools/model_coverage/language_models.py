"""Models of transformers that read text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.model_coverage.model import Group, Model
from tools.model_coverage.sizes import (
    BART,
    BLOCKS,
    EXPERTS,
    GPT,
    GROUPED,
    NO_CACHE,
    ONE_SEQUENCE,
    POSITIONS,
    T5,
    TEXT,
    TWO_SEQUENCES,
    VOCABULARY,
    WITH_HEADS,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


def _decoder(name: str, config: Mapping[str, object]) -> Model:
    return Model(name, Group.DECODER, config, ONE_SEQUENCE, NO_CACHE)


def _encoder(name: str, config: Mapping[str, object] = TEXT) -> Model:
    return Model(name, Group.ENCODER, config, ONE_SEQUENCE)


def _both(name: str, config: Mapping[str, object]) -> Model:
    return Model(name, Group.ENCODER_DECODER, config, TWO_SEQUENCES, NO_CACHE)


DECODERS = (
    _decoder("LlamaForCausalLM", GROUPED),
    _decoder("MistralForCausalLM", GROUPED | {"sliding_window": 4}),
    _decoder("MinistralForCausalLM", WITH_HEADS | {"sliding_window": 32}),
    _decoder("Qwen2ForCausalLM", GROUPED),
    _decoder("Qwen3ForCausalLM", WITH_HEADS),
    _decoder("SmolLM3ForCausalLM", GROUPED),
    _decoder("GemmaForCausalLM", WITH_HEADS),
    _decoder("Gemma2ForCausalLM", WITH_HEADS),
    _decoder("Gemma3ForCausalLM", WITH_HEADS),
    _decoder("PhiForCausalLM", GROUPED),
    _decoder("Phi3ForCausalLM", GROUPED),
    _decoder("Olmo2ForCausalLM", GROUPED),
    _decoder("CohereForCausalLM", GROUPED),
    _decoder("GraniteForCausalLM", GROUPED),
    _decoder("HeliumForCausalLM", WITH_HEADS),
    _decoder("Glm4ForCausalLM", WITH_HEADS),
    _decoder("StableLmForCausalLM", GROUPED),
    _decoder("Starcoder2ForCausalLM", GROUPED),
    _decoder("NemotronForCausalLM", GROUPED),
    _decoder("PersimmonForCausalLM", TEXT),
    _decoder("GPT2LMHeadModel", GPT),
    _decoder("GPTBigCodeForCausalLM", GPT),
    _decoder("GPTJForCausalLM", GPT | {"rotary_dim": 4}),
    _decoder("CodeGenForCausalLM", GPT | {"rotary_dim": 4}),
    _decoder(
        "GPTNeoForCausalLM",
        VOCABULARY
        | POSITIONS
        | {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "window_size": 4}
        | {"attention_types": [[["global", "local"], 1]]},
    ),
    _decoder("GPTNeoXForCausalLM", TEXT),
    _decoder(
        "OPTForCausalLM",
        VOCABULARY | BLOCKS | POSITIONS | {"ffn_dim": 48} | {"word_embed_proj_dim": 32},
    ),
    _decoder("BloomForCausalLM", VOCABULARY | {"hidden_size": 32, "n_layer": 2, "n_head": 4}),
    _decoder(
        "MptForCausalLM",
        VOCABULARY | {"d_model": 32, "n_layers": 2, "n_heads": 4} | {"max_seq_len": 32},
    ),
    _decoder("FalconForCausalLM", VOCABULARY | BLOCKS),
    _decoder("BioGptForCausalLM", TEXT),
    _decoder("MixtralForCausalLM", GROUPED | {"num_local_experts": 4, "num_experts_per_tok": 2}),
    _decoder("Qwen2MoeForCausalLM", EXPERTS | {"shared_expert_intermediate_size": 16}),
    _decoder("OlmoeForCausalLM", EXPERTS),
    _decoder("GptOssForCausalLM", WITH_HEADS | {"num_local_experts": 4, "num_experts_per_tok": 2}),
    _decoder(
        "DeepseekV3ForCausalLM",
        TEXT
        | {"num_key_value_heads": 4, "moe_intermediate_size": 16, "n_routed_experts": 4}
        | {"num_experts_per_tok": 2, "n_group": 2, "topk_group": 1, "first_k_dense_replace": 1}
        | {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8}
        | {"v_head_dim": 8},
    ),
    _decoder(
        "MambaForCausalLM",
        VOCABULARY | {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
    ),
    _decoder(
        "RwkvForCausalLM",
        VOCABULARY
        | {
            "hidden_size": 32,
            "attention_hidden_size": 32,
            "num_hidden_layers": 2,
            "context_length": 32,
        },
    ),
    _decoder(
        "RecurrentGemmaForCausalLM",
        GROUPED | {"lru_width": 32, "num_hidden_layers": 3, "attention_window_size": 8},
    ),
)

ENCODERS = (
    _encoder("BertModel"),
    _encoder("BertForMaskedLM"),
    _encoder("BertForSequenceClassification"),
    _encoder("RobertaForMaskedLM"),
    _encoder("XLMRobertaForTokenClassification"),
    _encoder("CamembertForQuestionAnswering"),
    _encoder(
        "DistilBertForMaskedLM",
        VOCABULARY | POSITIONS | {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48},
    ),
    _encoder("AlbertForMaskedLM", TEXT | {"embedding_size": 16}),
    _encoder("ElectraForMaskedLM", TEXT | {"embedding_size": 16}),
    _encoder(
        "MobileBertForMaskedLM",
        TEXT | {"embedding_size": 16, "intra_bottleneck_size": 16, "true_hidden_size": 16},
    ),
    _encoder("MPNetForMaskedLM"),
    _encoder(
        "DebertaV2ForMaskedLM", TEXT | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}
    ),
    _encoder("ModernBertForMaskedLM", TEXT | {"cls_token_id": 1, "sep_token_id": 1}),
    _encoder("NomicBertForMaskedLM"),
    _encoder("ErnieForMaskedLM"),
    _encoder("ConvBertForMaskedLM", TEXT | {"embedding_size": 32, "head_ratio": 2}),
    _encoder("SqueezeBertForMaskedLM", TEXT | {"embedding_size": 32}),
    _encoder("FNetForMaskedLM"),
    _encoder("RoFormerForMaskedLM", TEXT | {"embedding_size": 32}),
    _encoder("LongformerForMaskedLM", TEXT | {"attention_window": 4}),
    _encoder("EsmForMaskedLM", TEXT | {"mask_token_id": 2, "position_embedding_type": "rotary"}),
    _encoder(
        "XLMForSequenceClassification",
        {
            "vocab_size": 64,
            "emb_dim": 32,
            "n_layers": 2,
            "n_heads": 4,
            "max_position_embeddings": 32,
        },
    ),
    _encoder(
        "FunnelForMaskedLM",
        {
            "vocab_size": 64,
            "block_sizes": [1, 1],
            "d_model": 32,
            "n_head": 4,
            "d_head": 8,
            "d_inner": 48,
        },
    ),
)

ENCODER_DECODERS = (
    _both("T5ForConditionalGeneration", T5),
    _both("UMT5ForConditionalGeneration", T5),
    _both(
        "SwitchTransformersForConditionalGeneration",
        T5
        | {
            "num_experts": 2,
            "num_decoder_layers": 2,
            "num_sparse_encoder_layers": 1,
            "num_sparse_decoder_layers": 1,
        },
    ),
    _both("BartForConditionalGeneration", BART),
    _both("MBartForConditionalGeneration", BART),
    _both("PegasusForConditionalGeneration", BART),
    _both("MarianMTModel", BART | {"decoder_vocab_size": 64}),
    _both("BlenderbotForConditionalGeneration", BART),
    _both("M2M100ForConditionalGeneration", BART),
    _both(
        "ProphetNetForConditionalGeneration",
        VOCABULARY
        | POSITIONS
        | {
            "hidden_size": 32,
            "num_encoder_layers": 1,
            "num_decoder_layers": 1,
            "num_encoder_attention_heads": 4,
            "num_decoder_attention_heads": 4,
            "encoder_ffn_dim": 48,
            "decoder_ffn_dim": 48,
        },
    ),
)
