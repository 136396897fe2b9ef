"""A model from its folder to answers, through all parts but HTTP."""

import asyncio
from contextlib import aclosing

import pytest
import torch

from onewafer.errors import ConfigurationError
from onewafer.server.assembly import assemble
from onewafer.server.contract.events import Completed, Delta
from onewafer.server.contract.generation import Generation, Sampling, TokenIds
from onewafer.server.engine.service import LiveService
from onewafer.server.models import check_model, load_model
from onewafer.server.options import ServerOptions
from onewafer.terminal import ProgressBar
from tests.server.small_models import save, small_llama

GREEDY = Sampling(temperature=0.0)
PROMPTS = ((5, 6, 7, 8, 9), (11, 12), (5, 6, 7, 8, 9, 10, 11))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(save(small_llama(), tmp_path_factory.mktemp("models") / "small"))


async def answers(service):
    """Return the tokens of an answer to each prompt, all asked at once, and what they took."""

    async def one(index, prompt):
        generation = Generation(
            id=str(index), model="small", prompt=TokenIds(prompt), max_tokens=12, sampling=GREEDY
        )
        async with aclosing(service.answer(generation)) as items:
            events = [event async for events in items for event in events]
        tokens = [token for event in events if isinstance(event, Delta) for token in event.tokens]
        return tokens, next(event for event in events if isinstance(event, Completed))

    return await asyncio.gather(*(one(i, prompt) for i, prompt in enumerate(PROMPTS)))


@pytest.mark.parametrize("max_batch", [1, 3])
@pytest.mark.alternate
def test_greedy_answers_are_those_of_transformers(folder, max_batch):
    options = ServerOptions(max_batch=max_batch, context=64, against="h100")
    service = LiveService()
    service.begin(assemble(folder, options, ProgressBar()))
    try:
        found = asyncio.run(answers(service))
    finally:
        service.close()
    module = load_model(folder, bar=ProgressBar()).module
    for prompt, (tokens, completed) in zip(PROMPTS, found, strict=True):
        expected = module.generate(
            torch.tensor([prompt]), max_new_tokens=12, do_sample=False, pad_token_id=0
        )[0, len(prompt) :].tolist()
        assert tokens == expected[: len(tokens)]
        assert len(tokens) in (len(expected), len(expected) - 1), "an end token is no text"
        assert completed.usage.completion_tokens == len(expected)
        assert not completed.is_synthetic
        assert completed.times.system == "cs3"
        assert completed.times.alternative.system == "h100x1"
    all_times = [completed.times for _, completed in found]
    longest_wait = max(times.queue_seconds for times in all_times)
    waits_for_another = longest_wait >= min(times.completion_seconds for times in all_times)
    assert waits_for_another == (max_batch == 1)


def test_weights_that_are_not_here_need_made_up_text():
    with pytest.raises(ConfigurationError, match="--values none"):
        check_model("llama-3.1-8b", needs_weights=True)
    check_model("llama-3.1-8b", needs_weights=False)
