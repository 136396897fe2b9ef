import math

import numpy as np
import pytest
import torch
from transformers import (
    RepetitionPenaltyLogitsProcessor,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from onewafer.server.contract.generation import Sampling
from onewafer.server.values.sampling import (
    choose,
    log_probabilities,
    most_likely,
    penalised,
    uniform,
)

LOGITS = np.random.default_rng(0).normal(0, 2, 50).astype(np.float32)


def draw(logits=LOGITS, *, count=200, mask=None, **fields):
    """Return the tokens that `count` seeds choose."""
    return [
        choose(logits, Sampling(seed=seed, **fields), index=3, end_ids=frozenset({7}), mask=mask)
        for seed in range(count)
    ]


def bits(*tokens):
    allowed = np.zeros(64, bool)
    allowed[list(tokens)] = True
    return np.packbits(allowed, bitorder="little").tobytes()


def test_without_temperature_the_most_likely_token_is_chosen():
    assert set(draw(temperature=0)) == {int(LOGITS.argmax())}
    assert set(draw(np.array([1, 2, 2, 0], np.float32), temperature=0)) == {1}


def test_frequencies_are_the_probabilities():
    tokens = draw(np.log(np.array([0.1, 0.6, 0.3], np.float32)), count=3000)

    assert np.bincount(tokens) / 3000 == pytest.approx([0.1, 0.6, 0.3], abs=0.03)


def test_a_temperature_flattens_or_sharpens():
    logits = np.log(np.array([0.2, 0.8], np.float32))

    assert np.mean(draw(logits, count=2000, temperature=0.5)) == pytest.approx(16 / 17, abs=0.02)
    assert np.mean(draw(logits, count=2000, temperature=2.0)) == pytest.approx(2 / 3, abs=0.03)


@pytest.mark.parametrize("temperature", [1e-30, 1e-300, 5e-324])
def test_a_tiny_temperature_leaves_the_most_likely_token(temperature):
    assert set(draw(count=20, temperature=temperature)) == {int(LOGITS.argmax())}


@pytest.mark.parametrize("top_p", [0.1, 0.5, 0.9, 0.999])
def test_top_p_keeps_what_transformers_keeps(top_p):
    kept = TopPLogitsWarper(top_p)(None, torch.tensor(LOGITS)[None])[0].isfinite()

    assert set(draw(count=1000, top_p=top_p)) <= set(kept.nonzero()[:, 0].tolist())


@pytest.mark.parametrize("top_k", [1, 3, 49, 50, 1000])
def test_top_k_keeps_what_transformers_keeps(top_k):
    kept = TopKLogitsWarper(top_k)(None, torch.tensor(LOGITS)[None])[0].isfinite()

    assert set(draw(count=500, top_k=top_k)) <= set(kept.nonzero()[:, 0].tolist())


def test_top_p_sees_many_equally_likely_tokens():
    tokens = draw(np.zeros(5000, np.float32), top_p=0.5)

    assert max(tokens) < 2500
    assert len(set(tokens)) > 150


def test_biases_move_tokens():
    assert set(draw(logit_bias={5: 100.0})) == {5}
    assert 5 not in draw(np.zeros(6, np.float32), logit_bias={5: -100.0, 99: 1.0})


def test_an_answer_does_not_end_before_its_time():
    logits = np.zeros(8, np.float32)
    logits[7] = 100

    assert 7 not in draw(logits, min_tokens=4)
    assert set(draw(logits, min_tokens=3)) == {7}


def test_grammars_forbid_tokens():
    assert set(draw(mask=bits(4, 9))) == {4, 9}
    assert set(draw(mask=bits(4), temperature=0)) == {4}


def test_a_grammar_that_only_allows_the_end_ends_an_answer_that_is_too_short():
    assert set(draw(mask=bits(7), min_tokens=100)) == {7}


def test_random_numbers_depend_on_seed_and_index_alone():
    numbers = {uniform(seed, index) for seed in range(30) for index in range(30)}

    assert len(numbers) == 900
    assert 0 <= min(numbers) < max(numbers) < 1
    assert np.mean(list(numbers)) == pytest.approx(0.5, abs=0.05)
    assert uniform(1, 12) != uniform(11, 2)


def test_log_probabilities_are_those_of_the_model():
    logprobs = log_probabilities(LOGITS)

    assert np.exp(logprobs).sum() == pytest.approx(1)
    expected = torch.tensor(LOGITS, dtype=torch.float64).log_softmax(-1)
    assert logprobs == pytest.approx(expected.numpy())


def test_the_most_likely_tokens_come_in_order():
    logprobs = np.log(np.array([0.2, 0.3, 0.2, 0.3]))

    assert [token for token, _ in most_likely(logprobs, 3)] == [1, 3, 0]
    assert most_likely(logprobs, 0) == ()
    assert len(most_likely(logprobs, 20)) == 4
    assert most_likely(logprobs, 1)[0][1] == pytest.approx(math.log(0.3))


def test_penalties_are_for_tokens_that_were_there():
    logits = np.array([5, 4, 3, -1], np.float32)

    def likeliest(**fields):
        sampling = Sampling(temperature=0, **fields)
        return choose(logits, sampling, index=3, end_ids=frozenset(), prompt=(1,), answer=(0, 0, 2))

    assert likeliest() == 0
    assert likeliest(presence_penalty=1.5) == 1  # 3.5, 4, 1.5, -1
    assert likeliest(frequency_penalty=0.6) == 1  # 3.8, 4, 2.4, -1
    assert likeliest(frequency_penalty=-2.0) == 0
    assert likeliest(repetition_penalty=100.0) == 0  # 0.05, 0.04, 0.03, -1
    assert logits.tolist() == [5, 4, 3, -1]


def test_a_repetition_penalty_is_that_of_transformers():
    logits, prompt, answer = np.array([3, -2, 1, 0.5, -4], np.float32), (1, 0), (4, 4)
    warped = RepetitionPenaltyLogitsProcessor(1.5)(
        torch.tensor([[*prompt, *answer]]), torch.tensor(logits[None])
    )[0]
    sampling = Sampling(repetition_penalty=1.5)

    assert penalised(logits, sampling, prompt, answer) == pytest.approx(warped.numpy())


def test_an_answer_that_ignores_its_end_does_not_end():
    logits = np.zeros(8, np.float32)
    logits[7] = 100

    assert 7 not in draw(logits, ignores_end=True)
