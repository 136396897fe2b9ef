"""OpenAI's client against `/v1/responses` and `/v1/completions`."""

import json

import openai
import pytest

from onewafer.server.contract.generation import Role, TokenIds
from tests.server.running import serving
from tests.server.scripted import MODEL, TEXT, ScriptedService

WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "Tells the weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}


@pytest.fixture(scope="module")
def service():
    return ScriptedService()


@pytest.fixture(scope="module")
def client(service):
    with (
        serving(service) as server,
        openai.OpenAI(
            base_url=f"{server.url}/v1",
            api_key="none",
            max_retries=0,
            _strict_response_validation=True,
        ) as client,
    ):
        yield client


def test_a_response(client):
    response = client.responses.create(model=MODEL, input="Say something.", instructions="Be kind.")

    assert response.output_text == TEXT
    assert response.status == "completed"
    assert response.usage.input_tokens_details.cached_tokens == 4
    assert response.onewafer["joules"] == 3.5


def test_the_tokens_of_an_input_are_counted(client):
    counted = client.responses.input_tokens.count(model=MODEL, input="Say two words")

    assert (counted.object, counted.input_tokens) == ("response.input_tokens", 3)


def test_a_streamed_response(client):
    with client.responses.stream(model=MODEL, input="Say something.") as stream:
        events = list(stream)
        response = stream.get_final_response()

    assert response.output_text == TEXT
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events if not event.type.endswith("delta")]
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]


def test_a_response_that_is_cut_is_incomplete(client):
    asked = {"model": MODEL, "input": "Say something.", "max_output_tokens": 2}
    response = client.responses.create(**asked)
    *_, last = client.responses.create(**asked, stream=True)

    assert response.status == "incomplete"
    assert response.incomplete_details.reason == "max_output_tokens"
    assert last.type == "response.incomplete"
    assert last.response.output_text == "The wafer"


def test_calls(client):
    asked = {"model": MODEL, "input": "Say something.", "tools": [WEATHER]}
    response = client.responses.create(**asked, tool_choice="required")
    with client.responses.stream(
        **asked, tool_choice={"type": "function", "name": "weather"}
    ) as stream:
        streamed = stream.get_final_response()

    for one in (response, streamed):
        [call] = one.output
        assert (call.type, call.name, call.call_id) == ("function_call", "weather", "call_1")
        assert json.loads(call.arguments) == {"city": "Oslo"}


def test_log_probabilities(client):
    response = client.responses.create(
        model=MODEL,
        input="Say something.",
        include=["message.output_text.logprobs"],
        top_logprobs=1,
        max_output_tokens=2,
    )

    assert [one.logprob for one in response.output[0].content[0].logprobs] == [-0.5, -0.5]


def test_the_items_of_an_agent(client, service):
    """The fields that Codex sends, with tools that other servers run."""
    client.responses.create(
        model=MODEL,
        instructions="You are an agent.",
        input=[
            {
                "type": "message",
                "role": "developer",
                "content": [{"type": "input_text", "text": "Sandbox."}],
            },
            {"role": "user", "content": "Look."},
            {"type": "reasoning", "summary": [], "encrypted_content": "x"},
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "I look."}],
            },
            {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "+3"},
        ],
        tools=[WEATHER, {"type": "web_search"}],
        tool_choice="auto",
        parallel_tool_calls=False,
        reasoning={"effort": "low", "summary": "auto"},
        store=False,
        include=["reasoning.encrypted_content"],
        prompt_cache_key="k",
        text={"verbosity": "low"},
    )

    asked = service.asked[-1]
    roles = [message.role for message in asked.prompt.messages]
    assert roles == [Role.SYSTEM, Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.TOOL]
    assert asked.prompt.messages[3].calls[0].id == "c1"
    assert [tool.name for tool in asked.tools.tools] == ["weather"]
    assert not asked.tools.is_parallel


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input.0"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input.0.content.0"),
        ({"tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
    ],
)
def test_what_a_server_without_memory_refuses(client, changes, param):
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(**{"model": MODEL, "input": "Go on."} | changes)

    assert caught.value.param == param


def test_a_completion(client, service):
    answer = client.completions.create(model=MODEL, prompt="The", logprobs=2)

    assert answer.choices[0].text == TEXT
    assert answer.choices[0].logprobs.text_offset == [0, 3, 9, 14, 24, 27]
    assert answer.choices[0].logprobs.top_logprobs[0] == {"t0": -1.0, "t1": -2.0}
    assert service.asked[-1].max_tokens == 16


def test_an_echoed_completion_has_no_log_probabilities(client, service):
    client.completions.create(model=MODEL, prompt="The", echo=True)

    assert service.asked[-1].echo
    with pytest.raises(openai.BadRequestError, match="not computed"):
        client.completions.create(model=MODEL, prompt="The", echo=True, logprobs=0)


def test_a_streamed_completion(client):
    loose = client.with_options()  # the strict client wants an end in each chunk, unlike OpenAI
    loose._strict_response_validation = False
    chunks = list(
        loose.completions.create(model=MODEL, prompt=["The"], n=2, stream=True, logprobs=0)
    )

    for index in range(2):
        choices = [chunk.choices[0] for chunk in chunks if chunk.choices[0].index == index]
        assert "".join(choice.text for choice in choices) == TEXT
        assert choices[1].logprobs.text_offset == [3]
    assert chunks[-1].usage.completion_tokens == 12


def test_a_completion_of_tokens(client, service):
    for prompt in ([1, 2, 3], [[1, 2, 3]]):
        client.completions.create(model=MODEL, prompt=prompt)
        assert service.asked[-1].prompt == TokenIds((1, 2, 3))


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": ["one", "two"], "n": 128, "best_of": 127},
        {"prompt": ["one"] * 9, "n": 128},
        {"prompt": ["one", 2]},
        {"prompt": []},
        {"prompt": [1, "two"]},
        {"suffix": "end"},
        {"best_of": 3},
        {"logprobs": 6},
        {"max_tokens": 0},
        {"stop": ["a", "b", "c", "d", "e"]},
    ],
)
def test_completions_that_are_refused(client, changes):
    with pytest.raises(openai.BadRequestError):
        client.completions.create(**{"model": MODEL, "prompt": "The"} | changes)
