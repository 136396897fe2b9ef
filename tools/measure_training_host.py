# pyright: basic
# The type hints of torch and transformers are partial.
"""How much CPU time a training step takes in fidelity `auto`, once captured, beside plain Python.

    python tools/measure_training_host.py             # all loops
    python tools/measure_training_host.py digits      # one of them
    python tools/measure_training_host.py --steps 100 --rounds 9

Both sides train the same model with one thread, in turns, so that the ratios hold where other
programs use the cores, too. A time is that of the process, per step; printed is its median of all
rounds, and the median of the ratios of rounds. The last column is what is asked for.
"""

from __future__ import annotations

import argparse
import os
import runpy
import time
from itertools import islice
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from onewafer.pytorch import Fidelity, Session, WaferOptions, run_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch.utils.data import Dataset

    Loop = Callable[[], Iterator[None]]
    """Takes a step each time it is asked."""

os.environ["ONEWAFER_RAISE_OWN_ERRORS"] = "on"  # the host hides no bug of ours

AT_MOST = 1.5
EXAMPLE = Path(__file__).parents[1] / "examples" / "digits.py"


def digits() -> Iterator[None]:
    """Train as examples/digits.py does, with its data loader."""
    dataset: Dataset = runpy.run_path(str(EXAMPLE))["load_data"]()[0]
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    while True:
        for images, labels in DataLoader(dataset, batch_size=64, shuffle=True):
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            yield


def perceptron() -> Iterator[None]:
    """Train the same model on a batch that is there: nothing but the step."""
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    images, labels = torch.randn(64, 64), torch.randint(10, (64,))
    while True:
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        yield


def zeroed() -> Iterator[None]:
    """Train it with gradients that are set to 0, and with weights of classes."""
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    images, labels = torch.randn(64, 64), torch.randint(10, (64,))
    criterion = nn.CrossEntropyLoss(weight=torch.linspace(0.5, 1.5, 10))
    while True:
        optimizer.zero_grad(set_to_none=False)
        criterion(model(images), labels).backward()
        optimizer.step()
        yield


def parts() -> Iterator[None]:
    """Train it with gradients of four passes that are added up."""
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    images, labels = torch.randn(64, 64), torch.randint(10, (64,))
    while True:
        optimizer.zero_grad()
        for _ in range(4):
            loss = functional.cross_entropy(model(images), labels) / 4
            loss.backward()
        optimizer.step()
        yield


def optimizers() -> Iterator[None]:
    """Train it with an optimizer for each layer."""
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model[0].parameters(), lr=0.01)
    other = torch.optim.SGD(model[2].parameters(), lr=0.1, momentum=0.9)
    images, labels = torch.randn(64, 64), torch.randint(10, (64,))
    while True:
        optimizer.zero_grad()
        other.zero_grad()
        functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        other.step()
        yield


def rows() -> Iterator[None]:
    """Train it with a loss of each row and weights of rows."""
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    images, labels, weights = torch.randn(64, 64), torch.randint(10, (64,)), torch.rand(64)
    while True:
        optimizer.zero_grad()
        losses = functional.cross_entropy(model(images), labels, reduction="none")
        (losses * weights).mean().backward()
        optimizer.step()
        yield


def gpt2() -> Iterator[None]:
    """Train a GPT-2 of two layers on sequences of 32 tokens, with clipping and a schedule."""
    config = GPT2Config(vocab_size=65, n_positions=32, n_embd=64, n_layer=2, n_head=4)
    for name in ("resid_pdrop", "embd_pdrop", "attn_pdrop"):
        setattr(config, name, 0.0)
    yield from _decoder(GPT2LMHeadModel(config))


def llama() -> Iterator[None]:
    """Train a Llama of two layers in the same way."""
    config = LlamaConfig(
        vocab_size=65,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=32,
    )
    yield from _decoder(LlamaForCausalLM(config))


def _decoder(model: nn.Module) -> Iterator[None]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10_000)
    ids = torch.randint(65, (4, 32))
    while True:
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        yield


LOOPS: tuple[Loop, ...] = (
    *(digits, perceptron, zeroed, parts, optimizers, rows),
    *(gpt2, llama),
)


def compare(loop: Loop, *, steps: int, rounds: int) -> tuple[float, float, float]:
    """Return the seconds of a step under plain Python and in `auto`, and their ratio: medians."""
    session = Session(WaferOptions(fidelity=Fidelity.AUTO))
    plain, wafer = loop(), loop()

    def seconds(running: Iterator[None], count: int) -> float:
        start = time.process_time()
        for _ in islice(running, count):
            pass
        return (time.process_time() - start) / count

    found: list[tuple[float, float]] = []
    for number in range(rounds):
        seconds(plain, 10)
        own = seconds(plain, steps)
        with run_on(session):
            seconds(wafer, 10 if number else 60)  # captures, simulates, follows
            found.append((own, seconds(wafer, steps)))
    ratio = median(wafer / plain for plain, wafer in found)
    return median(plain for plain, _ in found), median(wafer for _, wafer in found), ratio


def main() -> None:
    """Print times and ratios."""
    parser = argparse.ArgumentParser(description="Compare fidelity auto with plain Python.")
    parser.add_argument("loops", nargs="*", help=", ".join(loop.__name__ for loop in LOOPS))
    parser.add_argument("--steps", type=int, default=200, help="of a round")
    parser.add_argument("--rounds", type=int, default=5, help="of which medians are printed")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for loop in LOOPS:
        if arguments.loops and loop.__name__ not in arguments.loops:
            continue
        torch.manual_seed(0)
        plain, wafer, ratio = compare(loop, steps=arguments.steps, rounds=arguments.rounds)
        print(
            f"{loop.__name__:12} plain {1e6 * plain:7.0f} µs   auto {1e6 * wafer:7.0f} µs"
            f"   ratio {ratio:5.2f}   wanted: at most {AT_MOST}"
        )


if __name__ == "__main__":
    main()
