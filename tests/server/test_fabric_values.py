"""A model that a simulated wafer computes, behind the real server."""

from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
import torch

from onewafer.errors import ConfigurationError
from onewafer.server.assembly import assemble
from onewafer.server.engine.service import LiveService
from onewafer.server.models import load_model
from onewafer.server.options import ServerOptions, ValuesKind
from onewafer.terminal import ProgressBar
from tests.server.running import serving
from tests.server.small_models import save, small_llama

TINY = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 32,
}
PROMPTS = (b"two clients", b"to")
MOST_TOKENS = 4
NUM_PRINTABLE = 94
"""The first tokens, which are the printable characters of ASCII."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    model = small_llama(**TINY)
    with torch.no_grad():
        model.lm_head.weight[NUM_PRINTABLE:] = 0  # so that every token is a character
    return str(save(model, tmp_path_factory.mktemp("models") / "tiny"))


@pytest.mark.slow
def test_two_clients_at_once_get_the_tokens_of_transformers(folder):
    service = LiveService()
    options = ServerOptions(values=ValuesKind.FABRIC, max_batch=2)
    service.begin(assemble(folder, options, ProgressBar()))
    try:
        with serving(service) as running, ThreadPoolExecutor() as clients:
            answers = [*clients.map(lambda prompt: ask(running, prompt), PROMPTS)]
            again = ask(running, PROMPTS[0])  # most of it is there
            (model,) = openai_client(running).models.list().data
    finally:
        service.close()
    loaded = load_model(folder, bar=ProgressBar())
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        expected = loaded.module.generate(
            torch.tensor([[*prompt]]), max_new_tokens=MOST_TOKENS, do_sample=False, pad_token_id=0
        )[0, len(prompt) :]
        assert answer.choices[0].text == loaded.text.tokenizer.decode(expected)
    assert again.choices[0].text == answers[0].choices[0].text
    cycles = [answer.onewafer["simulated"]["cycles"] for answer in (*answers, again)]
    launches = [answer.onewafer["simulated"]["launches"] for answer in (*answers, again)]
    assert all(n == MOST_TOKENS for n in launches), "each prompt fits into the first launch"
    assert all(1_000 * n < c < 1_000_000 * n for c, n in zip(cycles, launches, strict=True))
    assert model.onewafer == {"system": "cs3", "is_synthetic": False, "values": "fabric"}


def openai_client(running):
    return openai.OpenAI(base_url=f"{running.url}/v1", api_key="none", timeout=500, max_retries=0)


def ask(running, prompt):
    return openai_client(running).completions.create(
        model="tiny", prompt=[*prompt], max_tokens=MOST_TOKENS, temperature=0
    )


@pytest.mark.slow
def test_a_model_that_does_not_fit_is_refused(tmp_path):
    folder = save(small_llama(hidden_size=4096, intermediate_size=8), tmp_path / "wide")
    with pytest.raises(
        ConfigurationError, match=r"--values fabric cannot compute wide.*--values host"
    ) as caught:
        assemble(str(folder), ServerOptions(values=ValuesKind.FABRIC), ProgressBar())
    assert "fidelity" not in str(caught.value), "the options are those of `serve`"
