"""The promises of `values.host`: each sequence gets what it would get alone."""

import os
import subprocess
import sys
import textwrap
from hashlib import sha256
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from onewafer.errors import ConfigurationError
from onewafer.server.contract.generation import Sampling
from onewafer.server.contract.values import SequenceRequest
from onewafer.server.models.loading import LoadedModel
from onewafer.server.values.building import HostOptions, build_host_values
from tests.server.small_models import LLAMA
from tests.server.text.conftest import words

GREEDY = Sampling(temperature=0)


def built(kind, config, **fields):
    torch.manual_seed(0)
    return kind(config(**LLAMA | fields)).eval().requires_grad_(requires_grad=False)


MODELS = {
    "llama": lambda: built(LlamaForCausalLM, LlamaConfig),
    "llama-yarn": lambda: built(
        LlamaForCausalLM,
        LlamaConfig,
        rope_parameters={"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0},
        tie_word_embeddings=True,
    ),
    "mistral-window": lambda: built(MistralForCausalLM, MistralConfig, sliding_window=24),
    "qwen2-windows": lambda: built(
        Qwen2ForCausalLM,
        Qwen2Config,
        use_sliding_window=True,
        sliding_window=40,
        max_window_layers=1,
    ),
    "qwen3": lambda: built(Qwen3ForCausalLM, Qwen3Config, head_dim=80),
    # Those below are computed by transformers, one sequence after the other.
    "llama-bias": lambda: built(LlamaForCausalLM, LlamaConfig, attention_bias=True),
    "llama-narrow": lambda: built(LlamaForCausalLM, LlamaConfig, intermediate_size=100),
    "llama-bfloat16": lambda: built(LlamaForCausalLM, LlamaConfig).to(torch.bfloat16),
    "gpt2": lambda: (
        GPT2LMHeadModel(
            GPT2Config(vocab_size=258, n_embd=32, n_layer=2, n_head=2, initializer_range=0.3)
        )
        .eval()
        .requires_grad_(requires_grad=False)
    ),
    "mamba": lambda: built(MambaForCausalLM, MambaConfig),
}
BATCHED = ("llama", "llama-yarn", "mistral-window", "qwen2-windows", "qwen3")


@pytest.fixture(scope="module", params=MODELS)
def module(request):
    return request.param, MODELS[request.param]()


@pytest.fixture(scope="module")
def llama():
    return MODELS["llama"]()


def values_of(module, **options):
    model = LoadedModel(text=words(), module=module)
    fields = {"context_length": 400, "num_threads": 1, "cache_bytes": 100 << 20} | options
    return build_host_values(model, HostOptions(**fields)).values


def prompt_of(length, seed=0):
    return tuple(np.random.default_rng(seed).integers(0, 256, length).tolist())


def run(values, requests, *, num_tokens):
    """Return the tokens of requests that begin one after the other, as slots become free."""
    waiting = list(enumerate(requests))
    answers = {number: [] for number, _ in waiting}
    running = set()
    while waiting or running:
        while waiting and len(running) < values.num_slots:
            number, (prompt, sampling) = waiting.pop(0)
            values.begin(SequenceRequest(id=number, prompt=prompt, sampling=sampling))
            running.add(number)
        for produced in values.step():
            answers[produced.id].append(produced.token)
            if len(answers[produced.id]) == num_tokens:
                values.end(produced.id)
                running.remove(produced.id)
    return list(answers.values())


def generate(module, prompt, num_tokens):
    """Return what transformers generates from a prompt alone."""
    ids = torch.tensor([prompt])
    return module.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=num_tokens,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
        return_dict_in_generate=True,
        output_logits=True,
    )


def alone(module, prompt, num_tokens):
    return generate(module, prompt, num_tokens).sequences[0, len(prompt) :].tolist()


def test_one_slot_has_the_bits_of_generate(module):
    _, module = module
    prompt = prompt_of(50)
    values = values_of(module, num_slots=1)
    expected = generate(module, prompt, 12)
    seen = recorded(values)
    (tokens,) = run(values, [(prompt, GREEDY)], num_tokens=12)

    assert tokens == expected.sequences[0, 50:].tolist()
    theirs = [logits[0].float().numpy().tobytes() for logits in expected.logits]
    assert [logits for _, logits in seen] == theirs


@pytest.mark.alternate(8)
def test_many_users_of_mixed_lengths_get_what_generate_gives_each(module):
    name, module = module
    prompts = [prompt_of(length, seed=length) for length in (3, 70, 33, 64, 5, 150)]
    values = values_of(module, num_slots=4)

    answers = run(values, [(prompt, GREEDY) for prompt in prompts], num_tokens=40)

    assert answers == [alone(module, prompt, 40) for prompt in prompts]
    assert (type(values._computation).__name__ == "PagedComputation") is (name in BATCHED)


@pytest.mark.parametrize(
    "options", [{"num_threads": 3}, {"num_slots": 7}, {"cache_bytes": 8 << 20}]
)
def test_no_bit_depends_on_threads_slots_or_memory(llama, options):
    seeded = [(prompt_of(n, seed=n), Sampling(seed=n)) for n in (9, 40, 100, 33)]

    usual = run(values_of(llama, num_slots=3), seeded, num_tokens=30)
    other = run(values_of(llama, **{"num_slots": 3} | options), seeded, num_tokens=30)

    assert usual == other


def recorded(values):
    """Return the list that will have the logits of each sequence's steps, as bytes, by slot."""
    compute, seen = values._computation.compute, []

    def record(chunks):
        logits = compute(chunks)
        wanted = [chunk for chunk in chunks if chunk.wants_logits]
        seen.extend((c.slot, row.tobytes()) for c, row in zip(wanted, logits, strict=True))
        return logits

    values._computation.compute = record
    return seen


def test_no_bit_of_a_row_depends_on_its_neighbours(llama):
    mine = (prompt_of(77, seed=1), Sampling(seed=5))
    others = [(prompt_of(n, seed=n), Sampling(seed=n)) for n in (200, 3, 90)]

    quiet, busy = values_of(llama, num_slots=4), values_of(llama, num_slots=4)
    seen_quiet, seen_busy = recorded(quiet), recorded(busy)
    run(quiet, [mine], num_tokens=20)
    run(busy, [mine, *others], num_tokens=20)

    mine_busy = [logits for slot, logits in seen_busy if slot == 0][:20]
    assert [logits for _, logits in seen_quiet] == mine_busy


def test_a_beginning_that_was_read_is_not_read_again(llama):
    values = values_of(llama, num_slots=2)
    system, seen = prompt_of(100), recorded(values)

    def ask(number, *question):
        request = SequenceRequest(id=number, prompt=(*system, *question), sampling=GREEDY)
        cached = values.begin(request)
        while not (produced := values.step()):
            pass
        values.end(number)
        return cached, produced[0].token, seen[-1][1]

    assert ask(1, 5, 6)[0] == 0
    fresh = values_of(llama, num_slots=2, keeps_prefixes=False)
    fresh_seen = recorded(fresh)
    fresh.begin(SequenceRequest(id=1, prompt=(*system, 7), sampling=GREEDY))
    while not fresh.step():
        pass

    cached, _, logits = ask(2, 7)
    assert cached == 96
    assert logits == fresh_seen[-1][1]


def test_answers_are_part_of_later_prompts(llama):
    values = values_of(llama, num_slots=2)
    prompt = prompt_of(20)
    (answer,) = run(values, [(prompt, GREEDY)], num_tokens=60)

    following = (*prompt, *answer, 1, 2, 3)
    cached = values.begin(SequenceRequest(id=9, prompt=following, sampling=GREEDY))
    assert cached == 64


def test_old_beginnings_make_room_for_new_ones(llama):
    block_bytes = 2 * 2 * 2 * 16 * 32 * 4
    values = values_of(llama, num_slots=1 + 1, context_length=64, cache_bytes=8 * block_bytes)
    for seed in range(20):
        ((first, *_),) = run(values, [(prompt_of(40, seed), GREEDY)], num_tokens=3)
        assert first == alone(llama, prompt_of(40, seed), 1)[0]

    assert values.begin(SequenceRequest(id=1, prompt=prompt_of(40, 19), sampling=GREEDY)) == 32
    assert values.begin(SequenceRequest(id=2, prompt=prompt_of(40, 0), sampling=GREEDY)) == 0


def test_sequences_can_end_at_any_time(llama):
    values = values_of(llama, num_slots=2)
    values.begin(SequenceRequest(id=1, prompt=prompt_of(300), sampling=GREEDY))
    values.step()
    values.end(1)
    values.end(1)
    answers = run(values, [(prompt_of(30), GREEDY)] * 3, num_tokens=10)

    assert answers == [alone(llama, prompt_of(30), 10)] * 3


def test_a_long_prompt_does_not_hold_up_answers(llama):
    values = values_of(llama, num_slots=2)
    values.begin(SequenceRequest(id=1, prompt=prompt_of(5), sampling=GREEDY))
    values.step()
    values.begin(SequenceRequest(id=2, prompt=prompt_of(390), sampling=GREEDY))

    assert [[produced.id for produced in values.step()] for _ in range(4)] == [[1]] * 4


def test_answers_stop_at_the_end_of_the_context(llama):
    values = values_of(llama, num_slots=2, context_length=48)
    values.begin(SequenceRequest(id=1, prompt=prompt_of(40), sampling=GREEDY))
    counts = [len(values.step()) for _ in range(12)]

    assert sum(counts) == 48 - 40 + 1


def test_logprobs_come_with_the_tokens(llama):
    values = values_of(llama, num_slots=2)
    values.begin(SequenceRequest(id=1, prompt=prompt_of(5), sampling=GREEDY, top_logprobs=3))
    (produced,) = values.step()
    with torch.inference_mode():
        expected = llama(torch.tensor([prompt_of(5)])).logits[0, -1].double().log_softmax(-1)

    assert produced.top[0] == (produced.token, produced.logprob)
    assert [token for token, _ in produced.top] == expected.topk(3).indices.tolist()
    assert produced.logprob == pytest.approx(expected.max().item(), abs=1e-4)


def test_a_grammar_is_followed(llama):
    class Alternating:
        def __init__(self):
            self.taken = []

        def allowed(self):
            bits = np.zeros(264, bool)
            bits[len(self.taken) % 2] = True
            return np.packbits(bits, bitorder="little").tobytes()

        def take(self, token):
            self.taken.append(token)

    values, constraint = values_of(llama, num_slots=2), Alternating()
    values.begin(SequenceRequest(id=1, prompt=(5,), sampling=GREEDY, constraint=constraint))
    tokens = [values.step()[0].token for _ in range(5)]

    assert tokens == constraint.taken == [0, 1, 0, 1, 0]


def test_too_little_memory_is_said(llama):
    with pytest.raises(ConfigurationError, match="ask for fewer sequences"):
        values_of(llama, num_slots=8, cache_bytes=1000)


def test_the_context_is_what_fits(llama):
    block_bytes = 2 * 2 * 2 * 16 * 32 * 4

    assert values_of(llama, num_slots=2, cache_bytes=7 * block_bytes).context_length == 96


@pytest.mark.slow
def test_registers_of_half_the_width_change_no_bit(llama, tmp_path):
    features = llvm.get_host_cpu_features()
    if not features.get("avx512f") or not features.get("fma"):
        pytest.skip("needs a processor with AVX-512, which can do without")
    here = values_of(llama, num_slots=3)
    seen = recorded(here)
    requests = [(prompt_of(n, seed=n), GREEDY) for n in (9, 40, 100)]
    run(here, requests, num_tokens=10)

    script = """
        from tests.server.values.test_host import *
        values = values_of(MODELS["llama"](), num_slots=3)
        seen = recorded(values)
        run(values, [(prompt_of(n, seed=n), GREEDY) for n in (9, 40, 100)], num_tokens=10)
        print(sha256(repr(seen).encode()).hexdigest())
    """
    narrow = {
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+sse4.2",
        "ONEWAFER_CACHE_DIR": str(tmp_path),
    }
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env=os.environ | narrow,
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == sha256(repr(seen).encode()).hexdigest()
