"""Small models of the transformers package with random weights, and what to call them with."""

from __future__ import annotations

import pytest
import torch
import transformers

SIZES = {
    "vocab_size": 61,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32,
}
ENCODER = {name: size for name, size in SIZES.items() if name != "num_key_value_heads"}
FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "smollm", "gpt2", "bert", "vit")
CAUSAL = FAMILIES[:-2]
DECODERS = [
    pytest.param(name, marks=pytest.mark.slow if name in ("mistral", "qwen2", "smollm") else ())
    for name in CAUSAL
]
"""The causal ones; Llama stands for those with its layer in other sizes, a bias, or a window."""
VARIANTS = {
    "Gemma": {"head_dim": 8},
    "Phi": {},
    "Phi3": {"pad_token_id": 0},
    "GPTNeoX": {"rotary_pct": 0.5},
    "GPTJ": {"rotary_dim": 4},
    "Glm": {"head_dim": 8, "pad_token_id": 0},
    "Helium": {"head_dim": 8},
    "Cohere": {},
    "Persimmon": {},
    "StableLm": {},
}
"""Causal language models that spell norms and rotary positions otherwise, by their classes."""


def build(family: str, attention: str = "sdpa", **changes: object) -> torch.nn.Module:
    """Return a model whose norms and biases are random, too."""
    torch.manual_seed(7)
    match family:
        case "llama":
            config = transformers.LlamaConfig(**(SIZES | changes))
            model = transformers.LlamaForCausalLM(config)
        case "smollm":
            sizes = SIZES | {"num_attention_heads": 3, "num_key_value_heads": 1}
            config = transformers.LlamaConfig(**(sizes | {"tie_word_embeddings": True} | changes))
            model = transformers.LlamaForCausalLM(config)
        case "mistral":
            model = transformers.MistralForCausalLM(
                transformers.MistralConfig(**(SIZES | {"sliding_window": 32} | changes))
            )
        case "qwen2":
            model = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**(SIZES | changes)))
        case "qwen3":
            config = transformers.Qwen3Config(**(SIZES | {"head_dim": 8} | changes))
            model = transformers.Qwen3ForCausalLM(config)
        case "gpt2":
            config = transformers.GPT2Config(
                vocab_size=61, n_embd=24, n_layer=2, n_head=4, n_positions=32
            )
            model = transformers.GPT2LMHeadModel(config)
        case "bert":
            model = transformers.BertModel(transformers.BertConfig(**(ENCODER | changes)))
        case _:
            sizes = ENCODER | {"image_size": 24, "patch_size": 6}
            del sizes["vocab_size"], sizes["max_position_embeddings"]
            model = transformers.ViTModel(transformers.ViTConfig(**(sizes | changes)))
    return _randomise(model, attention)


def build_variant(name: str, attention: str = "sdpa") -> torch.nn.Module:
    """Return a causal language model of `VARIANTS`."""
    torch.manual_seed(7)
    changes = VARIANTS[name]
    if name == "GPTJ":
        sizes = {"vocab_size": 61, "n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 32}
    else:
        sizes = (ENCODER if name == "Persimmon" else SIZES) | {"hidden_size": 32}
    config = getattr(transformers, f"{name}Config")(**(sizes | changes))
    return _randomise(getattr(transformers, f"{name}ForCausalLM")(config), attention)


def build_biased(name: str) -> torch.nn.Module:
    """Return a model that adds something to its scores of attention: ALiBi, windows, biases."""
    torch.manual_seed(7)
    sizes = {"vocab_size": 61, "hidden_size": 24, "pad_token_id": 0}
    match name:
        case "Bloom":
            config = transformers.BloomConfig(**sizes, n_layer=2, n_head=4)
            model = transformers.BloomForCausalLM(config)
        case "Mpt":
            config = transformers.MptConfig(
                vocab_size=61, d_model=24, n_layers=2, n_heads=4, max_seq_len=32
            )
            model = transformers.MptForCausalLM(config)
        case "GPTNeo":
            layers = {"num_layers": 2, "num_heads": 4, "window_size": 3}
            kinds = {"attention_types": [[["global", "local"], 1]]}
            config = transformers.GPTNeoConfig(
                **sizes, **layers, **kinds, max_position_embeddings=32
            )
            model = transformers.GPTNeoForCausalLM(config)
        case _:
            model = transformers.MPNetModel(transformers.MPNetConfig(**ENCODER))
    return _randomise(model, "eager")


def build_pair(name: str, attention: str = "sdpa") -> torch.nn.Module:
    """Return an encoder with a decoder that attends to it."""
    torch.manual_seed(7)
    sizes = {"vocab_size": 61, "d_model": 24, "decoder_start_token_id": 0, "pad_token_id": 0}
    if name == "T5":
        config = transformers.T5Config(**sizes, d_kv=6, d_ff=40, num_layers=1, num_heads=4)
        return _randomise(transformers.T5ForConditionalGeneration(config), attention)
    for part in ("encoder", "decoder"):
        more = {"layers": 1, "attention_heads": 4, "ffn_dim": 40}
        sizes |= {f"{part}_{item}": size for item, size in more.items()}
    config = transformers.BartConfig(**sizes, max_position_embeddings=32)
    return _randomise(transformers.BartForConditionalGeneration(config), attention)


def _randomise(model: torch.nn.Module, attention: str) -> torch.nn.Module:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.set_attn_implementation(attention)
    return model.eval()


def arguments(family: str, rows: int) -> dict[str, object]:
    """Return the keywords of a call with that many tokens; an image has its own number."""
    torch.manual_seed(rows)
    if family == "vit":
        return {"pixel_values": torch.randn(1, 3, 24, 24)}
    ids = {"input_ids": torch.randint(0, 61, (1, rows))}
    return ids if family == "bert" else ids | {"use_cache": False}
