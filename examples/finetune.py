"""Fine-tune a language model with the shape of SmolLM2-135M: nothing here knows of a wafer.

    python examples/finetune.py
    onewafer run --fidelity model examples/finetune.py
    onewafer run --fidelity fabric examples/finetune.py --layers 4 --features 12 --heads 3 --words 9

Weights are random: the costs of a step depend on the shape only. The text is this file, a byte a
token.
"""

import argparse
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM


def read_arguments():
    """Return the arguments of the command line; by default the model is SmolLM2-135M."""
    parser = argparse.ArgumentParser(description="Fine-tune a model of SmolLM2-135M's shape.")
    parser.add_argument("--layers", type=int, default=30)
    parser.add_argument("--features", type=int, default=576, help="of the residual stream")
    parser.add_argument(
        "--heads", type=int, default=9, help="query heads; a third as many for keys"
    )
    parser.add_argument("--words", type=int, default=49152, help="of the vocabulary")
    parser.add_argument("--tokens", type=int, default=8, help="tokens of a sequence")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--optimizer", choices=["adamw", "sgd"], default="adamw")
    return parser.parse_args()


def build_model(arguments):
    """Return the model. Its results are logits and a loss; training has no use for a cache."""
    config = LlamaConfig(
        vocab_size=arguments.words,
        hidden_size=arguments.features,
        intermediate_size=arguments.features * 8 // 3,
        num_hidden_layers=arguments.layers,
        num_attention_heads=arguments.heads,
        num_key_value_heads=max(1, arguments.heads // 3),
        max_position_embeddings=8192,
        rms_norm_eps=1e-5,
        rope_theta=100_000.0,
        tie_word_embeddings=True,
        use_cache=False,
    )
    return LlamaForCausalLM(config)


def main():
    """Print the loss of each step."""
    arguments = read_arguments()
    torch.manual_seed(0)
    model = build_model(arguments)
    kinds = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    optimizer = kinds[arguments.optimizer](model.parameters(), lr=1e-3)
    text = torch.tensor([*Path(__file__).read_bytes()]) % arguments.words
    for step in range(arguments.steps):
        ids = text[step * arguments.tokens :][: arguments.tokens][None]
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        print(f"step {step}: loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
