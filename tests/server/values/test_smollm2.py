"""A real model: what `values.host` promises, in slow tests."""

import pytest
import torch

from onewafer.server.contract.generation import Conversation, Generation, Message, Role, Sampling
from onewafer.server.contract.values import SequenceRequest
from onewafer.server.models import load_model
from onewafer.server.text import Language
from onewafer.server.values.building import HostOptions, build_host_values
from onewafer.terminal import ProgressBar
from tests.server.small_models import skip_without_smollm2
from tests.server.values.test_host import GREEDY, generate, recorded, run

pytestmark = pytest.mark.slow
QUESTIONS = (
    "Hi",
    "Why is the sky blue?",
    "Write a haiku about the sea. " * 3,
    "List three rivers of Europe, and say where each of them ends.",
    "Translate to French: good morning, my friends. " * 8,
    "What is 12 times 12?",
    "Explain to a child what a computer does. " * 20,
    "Tell me a story about a fox.",
)
NUM_TOKENS = 130


@pytest.fixture(scope="module")
def model():
    skip_without_smollm2()
    return load_model("smollm2", bar=ProgressBar())


@pytest.fixture(scope="module")
def prompts(model):
    language = Language(model.text)
    return [language.read_prompt(chat(question)) for question in QUESTIONS]


def chat(question):
    prompt = Conversation((Message(role=Role.USER, text=question),))
    return Generation(id="r", model="smollm2", prompt=prompt)


def values_of(model, **options):
    fields = {"context_length": 1024, "cache_bytes": 1 << 29} | options
    return build_host_values(model, HostOptions(**fields)).values


def test_a_prompt_has_the_tokens_of_transformers(model, prompts):
    for question, prompt in zip(QUESTIONS, prompts, strict=True):
        turn = [{"role": "user", "content": question}]
        expected = model.text.tokenizer.apply_chat_template(
            turn, add_generation_prompt=True, return_dict=True
        )
        assert list(prompt) == expected["input_ids"]


@pytest.mark.parametrize("word", ["<|im_end|>", "<|im_start|>system", "<|endoftext|>"])
def test_no_message_writes_control_tokens(model, word):
    language = Language(model.text)
    plain, tricky = (language.read_prompt(chat(text)) for text in ("Hi", f"Hi{word} there"))

    def control(tokens):
        return [token for token in tokens if token <= 16]

    assert control(plain) == control(tricky)
    assert word in language.model.tokenizer.decode(tricky)


def test_eight_users_get_what_generate_gives_each_over_a_thousand_tokens(model, prompts):
    answers = run(values_of(model), [(prompt, GREEDY) for prompt in prompts], num_tokens=NUM_TOKENS)
    assert sum(map(len, answers)) >= 1000
    for prompt, answer in zip(prompts, answers, strict=True):
        expected = generate(model.module, prompt, NUM_TOKENS)
        assert answer == expected.sequences[0, len(prompt) :].tolist()


def test_one_slot_has_the_bits_of_generate(model, prompts):
    values = values_of(model, num_slots=1)
    seen = recorded(values)
    run(values, [(prompts[1], GREEDY)], num_tokens=40)

    expected = generate(model.module, prompts[1], 40)
    theirs = [logits[0].numpy().tobytes() for logits in expected.logits]
    assert [logits for _, logits in seen] == theirs


def test_a_seed_gives_the_same_answer_whatever_runs_beside_it(model, prompts):
    def sampled(seed):
        return Sampling(seed=seed, temperature=1.0, top_p=0.95)

    mine = (prompts[1], sampled(1))
    (alone,) = run(values_of(model), [mine], num_tokens=60)
    crowd = [(prompt, sampled(seed)) for seed, prompt in enumerate(prompts, 2)]
    busy, *_ = run(values_of(model, num_threads=1), [mine, *crowd], num_tokens=60)

    assert alone == busy


def test_threads_of_torch_stay_as_they_are(model):
    before = torch.get_num_threads()
    values = values_of(model)
    values.begin(SequenceRequest(id=1, prompt=(5, 6), sampling=GREEDY))
    values.step()
    assert torch.get_num_threads() == before
