"""The official clients of OpenAI and Cerebras against the real server."""

import json

import cerebras.cloud.sdk as cerebras
import openai
import pytest

from onewafer.server.http.options import HttpOptions
from tests.server.running import serving, wait_until
from tests.server.scripted import MODEL, TEXT, ScriptedService

KEY = "sk-test"
ASK = [{"role": "user", "content": "Say something."}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


@pytest.fixture(scope="module")
def service():
    return ScriptedService()


@pytest.fixture(scope="module")
def server(service):
    with serving(service, HttpOptions(keys=(KEY,))) as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(
        base_url=f"{server.url}/v1", api_key=KEY, max_retries=0, _strict_response_validation=True
    ) as client:
        yield client


@pytest.fixture(scope="module")
def strict_client(server):
    with cerebras.Cerebras(
        base_url=server.url, api_key=KEY, max_retries=0, _strict_response_validation=True
    ) as client:
        yield client


def test_openai_reads_an_answer(client):
    answer = client.chat.completions.create(model=MODEL, messages=ASK)

    assert answer.choices[0].message.content == TEXT
    assert answer.choices[0].finish_reason == "stop"
    assert answer.system_fingerprint == "fp_scripted"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (12, 6)
    assert answer.usage.prompt_tokens_details.cached_tokens == 4
    assert answer.time_info["total_time"] == 1.75
    assert answer.onewafer["cycles"] == 1_000_000
    assert answer.onewafer["alternative"]["system"] == "h100x8"


def test_openai_reads_a_stream(client):
    chunks = list(client.chat.completions.create(model=MODEL, messages=ASK, stream=True))

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == TEXT
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.total_tokens == 18
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_a_stream_that_asks_for_its_usage_ends_with_a_chunk_of_it(client):
    chunks = list(
        client.chat.completions.create(
            model=MODEL, messages=ASK, stream=True, stream_options={"include_usage": True}
        )
    )

    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 6
    assert all(len(chunk.choices) == 1 and chunk.usage is None for chunk in chunks[:-1])


def test_several_prompts_have_answers_in_their_order(client, service):
    whole = client.completions.create(model=MODEL, prompt=["a", "b"], n=2)
    assert [choice.index for choice in whole.choices] == [0, 1, 2, 3]
    lists = client.completions.create(model=MODEL, prompt=[[1, 2], [3]])
    assert [choice.index for choice in lists.choices] == [0, 1]

    texts, tokens = service.asked[-2:]
    assert [one.prompt.text for one in texts.each()] == ["a", "b"]
    assert [one.prompt.ids for one in tokens.each()] == [(1, 2), (3,)]


def test_answers_of_one_request_keep_apart(client):
    chunks = client.chat.completions.create(model=MODEL, messages=ASK, n=3, stream=True)
    texts = ["", "", ""]
    finishes = []
    for chunk in chunks:
        choice = chunk.choices[0]
        texts[choice.index] += choice.delta.content or ""
        if choice.finish_reason:
            finishes.append(choice.index)

    assert texts == [TEXT] * 3
    assert sorted(finishes) == [0, 1, 2]


def test_openai_reads_log_probabilities(client):
    answer = client.chat.completions.create(
        model=MODEL, messages=ASK, logprobs=True, top_logprobs=2, max_tokens=2
    )

    tokens = answer.choices[0].logprobs.content
    assert [token.token for token in tokens] == ["The", " wafer"]
    assert bytes(tokens[1].bytes).decode() == " wafer"
    assert [top.logprob for top in tokens[0].top_logprobs] == [-1.0, -2.0]
    assert answer.choices[0].finish_reason == "length"


def test_openai_reads_calls(client):
    answer = client.chat.completions.create(
        model=MODEL, messages=ASK, tools=[WEATHER], tool_choice="required"
    )

    [call] = answer.choices[0].message.tool_calls
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments) == {"city": "Oslo"}
    assert answer.choices[0].message.content is None
    assert answer.choices[0].finish_reason == "tool_calls"


def test_openai_reads_streamed_calls(client):
    with client.chat.completions.stream(
        model=MODEL, messages=ASK, tools=[WEATHER], tool_choice="required"
    ) as stream:
        answer = stream.get_final_completion()

    [call] = answer.choices[0].message.tool_calls
    assert json.loads(call.function.arguments) == {"city": "Oslo"}


def test_a_call_and_its_result_come_back_in_the_next_turn(client, service):
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    client.chat.completions.create(
        model=MODEL,
        messages=[
            *ASK,
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "+3"}]},
        ],
    )

    _, made, result = service.asked[-1].prompt.messages
    assert [(one.id, one.name) for one in made.calls] == [("call_1", "weather")]
    assert (result.call_id, result.text) == ("call_1", "+3")


def test_cerebras_strictly_reads_an_answer(strict_client):
    answer = strict_client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=3)

    assert answer.choices[0].message.content == "The wafer says"
    assert answer.time_info.queue_time == 0.25
    assert answer.time_info.completion_time == 1.0


def test_cerebras_strictly_reads_a_stream_with_calls_and_probabilities(strict_client):
    plain = list(
        strict_client.chat.completions.create(
            model=MODEL, messages=ASK, stream=True, logprobs=True, top_logprobs=1
        )
    )
    calls = list(
        strict_client.chat.completions.create(
            model=MODEL, messages=ASK, stream=True, tools=[WEATHER], tool_choice="required"
        )
    )

    assert "".join(chunk.choices[0].delta.content or "" for chunk in plain) == TEXT
    assert plain[-1].usage.completion_tokens == 6
    assert plain[-1].time_info.total_time == 1.75
    pieces = [call for chunk in calls for call in chunk.choices[0].delta.tool_calls or ()]
    assert "".join(piece.function.arguments for piece in pieces) == '{"city": "Oslo"}'


def test_clients_list_models(client, strict_client):
    assert [model.id for model in client.models.list()] == [MODEL]
    assert [model.id for model in strict_client.models.list().data] == [MODEL]
    assert client.models.retrieve(MODEL).owned_by == "tests"
    assert strict_client.models.retrieve(MODEL).created == 1_700_000_000
    with pytest.raises(openai.NotFoundError, match="no model 'other' is served here"):
        client.models.retrieve("other")


@pytest.mark.parametrize(
    ("model", "error", "code"),
    [
        ("missing", openai.NotFoundError, "model_not_found"),
        ("long", openai.BadRequestError, "context_length_exceeded"),
        ("busy", openai.RateLimitError, "queue_full"),
    ],
)
def test_refusals_are_errors_of_the_client(client, model, error, code):
    with pytest.raises(error) as caught:
        client.chat.completions.create(model=model, messages=ASK, stream=True)

    assert caught.value.code == code


def test_a_client_that_is_told_when_to_come_again_comes_again(server):
    with openai.OpenAI(base_url=server.url, api_key=KEY, max_retries=1) as client:
        before = len(server.log)
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(model="busy", messages=ASK)

    assert caught.value.response.headers["retry-after-ms"] == "50"
    assert caught.value.response.headers["retry-after"] == "1"
    assert caught.value.response.headers["x-ratelimit-remaining-requests"] == "5"
    wait_until(lambda: len(server.log) == before + 2)


def test_a_wrong_key_is_an_error_of_the_client(server):
    with (
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="wrong") as client,
        pytest.raises(openai.AuthenticationError, match="The key is wrong"),
    ):
        client.chat.completions.create(model=MODEL, messages=ASK)
