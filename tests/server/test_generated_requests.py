"""Generated requests: an answer, or a 4xx in the shape of the dialect; never a 5xx."""

import json

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.server.running import serving
from tests.server.scripted import MODEL, ScriptedService
from tests.server.test_bad_requests import PATHS, USER, error_of

TOOL = {"name": "f", "description": "d", "parameters": {"type": "object"}}
RICH = {
    "/v1/chat/completions": {
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "Be kind."}]},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                ],
            },
            {"role": "tool", "tool_call_id": "c", "content": "x"},
            USER,
        ],
        "n": 2,
        "stop": ["a", "b"],
        "stream": True,
        "stream_options": {"include_usage": True},
        "logit_bias": {"5": 1.0},
        "logprobs": True,
        "top_logprobs": 2,
        "seed": 1,
        "max_tokens": 4,
        "temperature": 0.5,
        "top_p": 0.5,
        "tools": [{"type": "function", "function": TOOL}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {}}},
    },
    "/v1/completions": {"prompt": ["hi", "ho"], "logprobs": 2, "stop": "x", "n": 2},
    "/v1/responses": {
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "x"},
        ],
        "tools": [{"type": "function", **TOOL}],
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "x"}]},
        "text": {"format": {"type": "json_schema", "name": "s", "schema": {}}},
        "include": ["message.output_text.logprobs"],
        "stream": True,
    },
    "/v1/messages": {
        "system": [{"type": "text", "text": "Be kind."}],
        "messages": [
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f"}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c"}]},
        ],
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "tool", "name": "f"},
        "stop_sequences": ["x"],
        "output_config": {"format": {"type": "json_schema", "schema": {}}},
    },
    "/v1/responses/input_tokens": {"input": [{"role": "user", "content": "hi"}], "text": {}},
    "/v1/messages/count_tokens": {"system": "x", "tools": [{"name": "f"}]},
}
"""Bodies with every field that means something."""
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from((0, -1, 2**31, 2**63, 10**30, "", MODEL, "function", "text", "auto"))
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(("type", "text", "role", "name", "x")), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(value, path=()):
    """Yield where values are in a body."""
    yield path
    match value:
        case dict():
            items = list(value.items())
        case list():
            items = list(enumerate(value))
        case _:
            items = []
    for key, inner in items:
        yield from places(inner, (*path, key))


def changed(value, path, new):
    """Return a body with another value in a place; `...`: without that place."""
    if not path:
        return {} if new is ... else new
    copy = value.copy()
    if len(path) == 1 and new is ...:
        del copy[path[0]]
    else:
        copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy


@st.composite
def bodies(draw):
    """Return a path with a body that has a few faults, sometimes cut or with other bytes."""
    path = draw(st.sampled_from(sorted(PATHS)))
    body = PATHS[path] | RICH[path]
    for _ in range(draw(st.integers(1, 3))):
        if not isinstance(body, dict):
            break
        place = draw(st.sampled_from(list(places(body))))
        body = changed(body, place, draw(st.just(...) | VALUES))
    content = json.dumps(body).encode()
    if draw(st.integers(0, 9)) == 0:
        cut = draw(st.integers(0, len(content)))
        content = content[:cut] + draw(st.binary(max_size=3)) + content[cut + 1 :]
    return path, content


@pytest.fixture(scope="module")
def client():
    with serving(ScriptedService()) as running, httpx.Client(base_url=running.url) as client:
        yield client


def answers_well(client, path, content):
    answer = client.post(path, content=content)

    assert answer.status_code in {200, 400, 404, 413, 429}, (content, answer.text)
    if answer.status_code != 200:
        assert error_of(answer, path)


@settings(max_examples=100)
@given(bodies())
def test_a_generated_request_is_answered_or_refused(client, body):
    answers_well(client, *body)


@pytest.mark.slow
@settings(max_examples=5000)
@given(bodies())
def test_thousands_of_generated_requests(client, body):
    answers_well(client, *body)


@settings(max_examples=60)
@given(st.sampled_from(sorted(PATHS)), st.binary(max_size=40))
def test_any_bytes_are_refused(client, path, content):
    answers_well(client, path, content)
