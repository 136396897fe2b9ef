"""A small language model continues a prompt: an ordinary script, nothing in it knows of a wafer.

    python examples/generate.py
    onewafer run examples/generate.py

Both print the same tokens. The weights are random, and so is the text; what counts is that under
`onewafer run` the prompt and every new token go through the simulated wafer, where the keys and
values of earlier tokens stay.
"""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
config = LlamaConfig(
    vocab_size=256,
    hidden_size=64,
    intermediate_size=160,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
    tie_word_embeddings=False,
    initializer_range=0.2,  # else such a small model repeats itself
)
model = LlamaForCausalLM(config).eval()
prompt = torch.tensor([[17, 4, 99, 23, 150, 8]])

tokens = model.generate(prompt, max_new_tokens=8, do_sample=False, pad_token_id=0)
print("greedy ", tokens[0, prompt.shape[1] :].tolist())
torch.manual_seed(1)
tokens = model.generate(prompt, max_new_tokens=8, do_sample=True, top_k=20, pad_token_id=0)
print("sampled", tokens[0, prompt.shape[1] :].tolist())
