"""Anthropic's official client against the real server."""

import json

import anthropic
import httpx
import pytest

from onewafer.server.contract.generation import Role
from onewafer.server.http.options import HttpOptions
from tests.server.running import serving
from tests.server.scripted import MODEL, TEXT, ScriptedService

KEY = "sk-ant"
ASK = [{"role": "user", "content": "Say something."}]
WEATHER = {
    "name": "weather",
    "description": "Tells the weather.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
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
    with anthropic.Anthropic(base_url=server.url, api_key=KEY, max_retries=0) as client:
        yield client


def test_a_message(client):
    message = client.messages.create(model=MODEL, max_tokens=20, messages=ASK)

    assert [(block.type, block.text) for block in message.content] == [("text", TEXT)]
    assert (message.stop_reason, message.stop_sequence) == ("end_turn", None)
    assert message.usage.input_tokens == 8
    assert message.usage.cache_read_input_tokens == 4
    assert message.usage.output_tokens == 6
    assert message.onewafer["cycles"] == 1_000_000


def test_a_streamed_message(client):
    with client.messages.stream(model=MODEL, max_tokens=2, messages=ASK) as stream:
        events = list(stream)
        message = stream.get_final_message()

    assert message.content[0].text == "The wafer"
    assert message.stop_reason == "max_tokens"
    assert message.usage.output_tokens == 2
    [start] = [event for event in events if event.type == "message_start"]
    assert start.message.usage.input_tokens == 8


def test_the_events_of_a_stream_in_their_order(server):
    body = {"model": MODEL, "max_tokens": 1, "messages": ASK, "stream": True}
    answer = httpx.post(f"{server.url}/v1/messages", json=body, headers={"x-api-key": KEY})

    assert answer.headers["content-type"].startswith("text/event-stream")
    names = [line[7:] for line in answer.text.splitlines() if line.startswith("event: ")]
    assert names == [
        "message_start",
        "ping",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_a_stop_sequence(client):
    message = client.messages.create(
        model=MODEL, max_tokens=20, messages=ASK, stop_sequences=["nowhere", " says"]
    )

    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", " says")


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "weather"}])
def test_calls(client, service, choice):
    asked = {"model": MODEL, "max_tokens": 20, "messages": ASK, "tools": [WEATHER]}
    message = client.messages.create(**asked, tool_choice=choice)
    with client.messages.stream(**asked, tool_choice=choice) as stream:
        streamed = stream.get_final_message()

    for one in (message, streamed):
        [call] = one.content
        assert (call.type, call.id, call.name) == ("tool_use", "call_1", "weather")
        assert call.input == {"city": "Oslo"}
        assert one.stop_reason == "tool_use"
    # Programs that force one call read one.
    assert service.asked[-1].tools.is_parallel == (choice["type"] == "any")


def test_a_conversation_with_calls_and_blocks(client, service):
    client.messages.create(
        model=MODEL,
        max_tokens=20,
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        messages=[
            *ASK,
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm.", "signature": "s"},
                    {"type": "text", "text": "I look."},
                    {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Oslo"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "c1", "content": "+3"},
                    {"type": "text", "text": "And?"},
                ],
            },
        ],
        tools=[WEATHER],
        thinking={"type": "disabled"},
        extra_body={"temperature": 0, "top_k": 5},
    )

    asked = service.asked[-1]
    system, _, assistant, result, user = asked.prompt.messages
    assert (system.role, system.text) == (Role.SYSTEM, "Be brief.")
    assert (assistant.text, json.loads(assistant.calls[0].arguments)) == (
        "I look.",
        {"city": "Oslo"},
    )
    assert (result.role, result.text, result.call_id) == (Role.TOOL, "+3", "c1")
    assert (user.role, user.text) == (Role.USER, "And?")
    assert (asked.sampling.temperature, asked.sampling.top_k) == (0, 5)


def test_a_word_of_the_system_behind_the_users(client, service):
    """An agent adds what it found out to the end of the conversation."""
    client.messages.create(
        model=MODEL, max_tokens=5, messages=[*ASK, {"role": "system", "content": "It is late."}]
    )

    assert [one.role for one in service.asked[-1].prompt.messages] == [Role.USER, Role.SYSTEM]


def test_tokens_are_counted(client):
    counted = client.messages.count_tokens(model=MODEL, messages=ASK, tools=[WEATHER])

    assert counted.input_tokens == 2


def test_models_are_listed(server):
    with anthropic.Anthropic(
        base_url=server.url, api_key=KEY, _strict_response_validation=True
    ) as client:
        assert [model.id for model in client.models.list()] == [MODEL]
        model = client.models.retrieve(MODEL)

    assert (model.display_name, model.max_input_tokens) == (MODEL, 4096)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model": "missing"}, anthropic.NotFoundError, "no model"),
        ({"model": "busy"}, anthropic.RateLimitError, "the queue is full"),
        ({"max_tokens": 0}, anthropic.BadRequestError, "max_tokens: Input should be greater"),
        ({"messages": []}, anthropic.BadRequestError, "messages: "),
        (
            {"messages": [{"role": "user", "content": []}]},
            anthropic.BadRequestError,
            "messages: no turn says anything",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]},
            anthropic.BadRequestError,
            "messages.0.content.0: the model reads text only, not a block of the type 'image'",
        ),
        (
            {"messages": [*ASK, {"role": "assistant", "content": "I"}]},
            anthropic.BadRequestError,
            "does not go on with a turn",
        ),
        (
            {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
            anthropic.BadRequestError,
            "no tool of the type 'web_search_20250305'",
        ),
        (
            {"tool_choice": {"type": "tool", "name": "other"}, "tools": [WEATHER]},
            anthropic.BadRequestError,
            "no tool has the name 'other'",
        ),
        ({"stop_sequences": [""]}, anthropic.BadRequestError, "the empty text"),
    ],
)
def test_refusals(client, changes, error, message):
    asked = {"model": MODEL, "max_tokens": 20, "messages": ASK}
    with pytest.raises(error) as caught:
        client.messages.create(**asked | changes)

    assert message in caught.value.body["error"]["message"]
    assert caught.value.body["type"] == "error"
    assert caught.value.request_id


def test_a_wrong_key(server):
    with (
        anthropic.Anthropic(base_url=server.url, api_key="wrong") as client,
        pytest.raises(anthropic.AuthenticationError) as caught,
    ):
        client.messages.create(model=MODEL, max_tokens=1, messages=ASK)

    assert caught.value.body["error"]["type"] == "authentication_error"
