"""Bodies that break a rule: each is a 4xx in the shape of its dialect, never a traceback."""

import json

import httpx
import pytest

from onewafer.server.http.options import HttpOptions
from tests.server.running import serving
from tests.server.scripted import MODEL, ScriptedService

USER = {"role": "user", "content": "hi"}
CHAT = {"model": MODEL, "messages": [USER]}
PATHS = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": {"model": MODEL, "prompt": "hi"},
    "/v1/responses": {"model": MODEL, "input": "hi"},
    "/v1/responses/input_tokens": {"model": MODEL, "input": "hi"},
    "/v1/messages": {"model": MODEL, "max_tokens": 1, "messages": [USER]},
    "/v1/messages/count_tokens": {"model": MODEL, "messages": [USER]},
}
NO_JSON = {
    "empty": b"",
    "cut": b'{"model": "x"',
    "two values": b"{}{}",
    "not a number": b'{"model": NaN}',
    "infinite": b'{"temperature": -Infinity}',
    "not UTF-8": b'{"model": "\xff"}',
    "half a character": b'{"model": "\\ud800"}',
    "twice": b'{"model": "a", "model": "b"}',
    "deep": b'{"model":' * 5000 + b"1" + b"}" * 5000,
    "deep lists": b"[" * 100_000,
    "a long number": b'{"n": ' + b"9" * 5000 + b"}",
    "a form": b"model=x&n=1",
    "UTF-16": '{"model": "x"}'.encode("utf-16"),
}
WRONG = {
    "a list": [],
    "a text": "hi",
    "null": None,
    "no field": {},
    "model": {"model": 7},
    "model list": {"model": ["x"]},
    "tools": {"tools": {"type": "function"}},
    "stream": {"stream": "yes"},
    "temperature": {"temperature": "hot"},
    "temperature range": {"temperature": -0.1},
    "huge": {"temperature": 10**400},
    "top_p": {"top_p": 1.5},
}
ABSENT = {
    "/v1/completions": {"tools"},
    "/v1/messages/count_tokens": {"stream", "temperature", "temperature range", "huge", "top_p"},
}
"""Fields that a path does not have: there they are unknown, and accepted."""


@pytest.fixture(scope="module")
def client():
    with serving(ScriptedService()) as running, httpx.Client(base_url=running.url) as client:
        yield client


@pytest.fixture(scope="module")
def strict():
    options = HttpOptions(is_strict=True)
    with (
        serving(ScriptedService(), options) as running,
        httpx.Client(base_url=running.url) as client,
    ):
        yield client


def error_of(answer, path):
    """Return the message of an error, whose shape is that of the path's dialect."""
    value = answer.json()
    error = value["error"]
    if "/messages" in path:
        assert set(value) == {"type", "error", "request_id"}
        assert value["type"] == "error"
        assert set(error) == {"type", "message"}
    else:
        assert set(value) == {"error"}
        assert set(error) == {"message", "type", "param", "code"}
    assert "Traceback" not in answer.text
    return error["message"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", NO_JSON)
def test_bodies_that_are_not_json(client, path, name):
    answer = client.post(path, content=NO_JSON[name])

    assert answer.status_code == 400
    assert error_of(answer, path).startswith("the body is not valid JSON: ")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("text", ["null", "[]", '"a"'])
def test_a_body_that_is_no_object(client, path, text):
    answer = client.post(path, content=text)

    assert answer.status_code == 400
    assert error_of(answer, path).startswith("the body must be a JSON object")


@pytest.mark.parametrize(
    ("path", "name"),
    [(path, name) for path in PATHS for name in WRONG if name not in ABSENT.get(path, ())],
)
def test_bodies_of_a_wrong_type(client, path, name):
    wrong = WRONG[name]
    body = PATHS[path] | wrong if wrong and isinstance(wrong, dict) else wrong
    answer = client.post(path, content=json.dumps(body))

    assert answer.status_code == 400
    assert error_of(answer, path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
        ({"max_completion_tokens": -1}, "max_completion_tokens: Input should be greater"),
        ({"max_tokens": 1.5}, "max_tokens: Input should be a valid integer"),
        ({"max_tokens": "5"}, "max_tokens: Input should be a valid integer"),
        ({"max_tokens": 10**30}, "max_tokens: Input should be less than"),
        ({"max_tokens": 3, "min_tokens": 4}, "min_tokens: 4 is more than the most, which is 3"),
        ({"n": 0}, "n: Input should be greater than or equal to 1"),
        ({"n": 1000}, "n: Input should be less than or equal to 128"),
        ({"seed": 2**63}, "seed: Input should be less than"),
        ({"stop": ["a"] * 5}, "stop: at most 4 texts, not 5"),
        ({"stop": ""}, "stop: the empty text would end every answer"),
        ({"stop": [1]}, "stop.0: Input should be a valid string"),
        ({"top_logprobs": 3}, "top_logprobs: needs 'logprobs': true"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs: Input should be less than"),
        ({"logit_bias": {"x": 1}}, "logit_bias: 'x' is not the number of a token"),
        ({"logit_bias": {"1": 101}}, "logit_bias.1: Input should be less than"),
        ({"frequency_penalty": 2.5}, "frequency_penalty: Input should be less than"),
        ({"repetition_penalty": 0}, "repetition_penalty: Input should be greater than 0"),
        ({"functions": [{"name": "f"}]}, "functions: not supported; name functions in 'tools'"),
        ({"stream_options": {"include_usage": True}}, "stream_options: needs 'stream': true"),
        ({"audio": {"voice": "x"}}, "audio: the model answers with text only"),
        ({"messages": []}, "messages: List should have at least 1 item"),
        ({"messages": [{"role": "robot", "content": "hi"}]}, "messages.0: role must be system,"),
        ({"messages": ["hi"]}, "messages.0: Input should be a valid dictionary or instance"),
        ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
        (
            {"messages": [{"role": "user", "content": None}]},
            "messages.0.content: Input should be a text, or a list of parts",
        ),
        ({"stop": 5}, "stop: Input should be a text, or a list of texts"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "messages.0.content.0: the model reads text only, not a part of the type 'image_url'",
        ),
        (
            {"messages": [{"role": "tool", "content": "x"}]},
            "messages.0.tool_call_id: Field required",
        ),
        ({"tools": [{"type": "custom", "name": "x"}]}, "tools.0.type: Input should be 'function'"),
        ({"tool_choice": "required"}, "tool_choice: 'required' needs tools"),
        (
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
            "tool_choice: no tool has the name 'f'",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "f"}}] * 2},
            "tools: two tools have the name 'f'",
        ),
        ({"response_format": {"type": "xml"}}, "response_format.type: Input should be 'text',"),
        (
            {"response_format": {"type": "json_schema"}},
            "response_format.json_schema.schema: Field required",
        ),
    ],
)
def test_the_message_names_the_field(client, changes, message):
    answer = client.post("/v1/chat/completions", json=CHAT | changes)

    assert answer.status_code == 400
    assert error_of(answer, "/v1/chat/completions").startswith(message)


def test_a_number_that_is_too_large_for_a_schema(client):
    schema = '{"type": "json_schema", "json_schema": {"name": "s", "schema": {"maximum": 1e999}}}'
    body = json.dumps(CHAT)[:-1] + f', "response_format": {schema}}}'
    answer = client.post("/v1/chat/completions", content=body)

    assert answer.status_code == 400
    assert "a number is too large" in error_of(answer, "/v1/chat/completions")


def test_unknown_fields_are_accepted(client):
    message = USER | {"reasoning_content": "Hm."}
    answer = client.post("/v1/chat/completions", json=CHAT | {"store": True, "messages": [message]})

    assert answer.status_code == 200


def test_a_strict_server_refuses_unknown_fields_in_flat_form(strict):
    answer = strict.post("/v1/chat/completions", json=CHAT | {"store": True})

    assert answer.status_code == 400
    assert answer.json() == {
        "message": "store: property 'store' is unsupported",
        "type": "invalid_request_error",
        "param": "validation_error",
        "code": "wrong_api_format",
    }


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"top_k": 5}, "top_k"),
        (
            {"messages": [{"role": "assistant", "content": "x", "reasoning_content": "y"}]},
            "messages.0.assistant.reasoning_content",
        ),
    ],
)
def test_a_strict_server_names_what_is_unsupported(strict, changes, path):
    answer = strict.post("/v1/chat/completions", json=CHAT | changes)

    assert answer.json()["message"] == f"{path}: property '{path}' is unsupported"


def test_a_strict_server_has_flat_errors_and_accepts_what_cerebras_has(strict):
    message = {"role": "assistant", "content": "x", "reasoning": "y"}
    fine = strict.post(
        "/v1/chat/completions",
        json=CHAT | {"messages": [message], "reasoning_effort": "low", "service_tier": "auto"},
    )
    missing = strict.post("/v1/chat/completions", json=CHAT | {"model": "missing"})
    busy = strict.post("/v1/chat/completions", json=CHAT | {"model": "busy"})

    assert fine.status_code == 200
    assert missing.json()["code"] == "model_not_found"
    assert (busy.status_code, busy.json()["type"]) == (429, "too_many_requests_error")


@pytest.mark.parametrize(
    ("method", "path", "status", "allowed"),
    [
        ("GET", "/v1/chat/completions", 405, "POST"),
        ("DELETE", "/v1/models", 405, "GET, HEAD"),
        ("POST", "/v1/embeddings", 404, None),
        ("GET", "/v1/../etc/passwd", 404, None),
        ("GET", "/v1/models/" + "x" * 5000, 404, None),
        ("GET", "/page/../../http/app.py", 404, None),
    ],
)
def test_addresses_that_are_not_there(client, method, path, status, allowed):
    answer = client.request(method, path)

    assert answer.status_code == status
    assert error_of(answer, path)
    assert answer.headers.get("allow") in {
        allowed,
        allowed and ", ".join(allowed.split(", ")[::-1]),
    }


def test_a_wrong_base_url_is_told_the_right_one(client):
    answer = client.post("/v1/v1/chat/completions", json={})

    assert "OpenAI's clients have the base URL http://HOST/v1" in error_of(answer, "/v1")


def test_the_clock_of_a_virtual_pace(client):
    service_time = client.post("/onewafer/advance", json={"seconds": 1.5}).json()

    assert service_time == {"now_seconds": 1.5}
    assert client.post("/onewafer/advance", json={"seconds": -1}).status_code == 400


def test_an_arrival_in_wafer_time_is_a_number(client):
    for text in ("soon", "-1", "nan", "inf", ""):
        answer = client.post(
            "/v1/chat/completions", json=CHAT, headers={"x-onewafer-arrival-seconds": text}
        )
        assert answer.status_code == (400 if text else 200)


def test_a_compressed_body_is_refused(client):
    answer = client.post("/v1/messages", content=b"x", headers={"content-encoding": "gzip"})

    assert answer.status_code == 400
    assert "compressed" in error_of(answer, "/v1/messages")
