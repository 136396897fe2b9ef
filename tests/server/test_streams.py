"""Streams that end early: clients that go, slow readers, errors, the end of the server."""

import json
import socket

import anthropic
import httpx
import openai
import pytest

from onewafer.server.contract.events import Delta, Ended, Reason, Started
from onewafer.server.contract.failures import UnavailableError
from onewafer.server.contract.service import Health
from onewafer.server.http.options import HttpOptions
from tests.server.running import serving, wait_until
from tests.server.scripted import (
    MODEL,
    TEXT,
    Pause,
    ScriptedService,
    completed,
    prompt_text,
    say,
    say_slowly,
)

STARTED = (Started(prompt_tokens=12, cached_tokens=4),)
NUM_LONG = 400
LONG = "x" * 30_000


def word(text, token=0):
    return (Delta(answer=0, text=text, tokens=(token,)),)


def play(generation):
    """Do what the prompt names."""
    match prompt_text(generation):
        case "queue for ever":
            return [Pause()]
        case "wait for ever":
            return [STARTED, word("Wait"), Pause()]
        case "wait a little":
            return say_slowly(generation)
        case "flood and wait":
            return [STARTED, word(LONG * NUM_LONG), Pause()]
        case "fail":
            return [STARTED, word("Well"), UnavailableError("the engine is gone", code="gone")]
        case "break":
            return [STARTED, word("Well"), ValueError("a secret")]
        case "break at once":
            return [ValueError("a secret")]
        case "be long":
            end = (Ended(answer=0, reason=Reason.END), completed(generation, NUM_LONG))
            return [STARTED, *(word(LONG, i) for i in range(NUM_LONG)), end]
        case "be fast":
            words = [*word("a", 1), *word("b", 2), Delta(answer=1, text="c", tokens=(3,))]
            ends = [Ended(answer=i, reason=Reason.END) for i in (0, 1)]
            return [STARTED, (*words, *word("d", 4)), (*ends, completed(generation, 4))]
        case _:
            return say(generation)


@pytest.fixture(scope="module")
def service():
    return ScriptedService(play)


@pytest.fixture(scope="module")
def server(service):
    with serving(service, HttpOptions(ping_seconds=0.05)) as running:
        yield running


def body(text, *, stream=True, **more):
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": text}],
        "stream": stream,
        **more,
    }


def connect(port, path, value):
    """Send a request through a bare socket."""
    content = json.dumps(value).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(content)}\r\n\r\n"
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.sendall(head.encode() + content)
    return connection


def read_until(connection, mark):
    seen = bytearray()
    while mark not in seen[-1000 - len(mark) :]:
        piece = connection.recv(1000)
        assert piece, bytes(seen)
        seen += piece
    return bytes(seen)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("text", ["queue for ever", "wait for ever"])
def test_a_client_that_goes_frees_its_place_at_once(server, service, text, stream):
    before = len(service.given_up)
    connection = connect(server.port, "/v1/chat/completions", body(text, stream=stream))
    wait_until(lambda: len(service.running) == 1)
    connection.close()

    wait_until(lambda: len(service.given_up) == before + 1)
    assert not service.running
    wait_until(lambda: '"outcome":"disconnected"' in server.log[-1])


def test_a_silent_stream_is_kept_open(server, service):
    message = body("wait for ever", max_tokens=5)
    for path, ping in (("/v1/chat/completions", b": ping\n\n"), ("/v1/messages", b"event: ping")):
        connection = connect(server.port, path, message)
        seen = read_until(connection, b"Wait")
        seen += read_until(connection, ping)
        connection.close()
        assert b"Wait" in seen
    wait_until(lambda: not service.running)


def test_a_slow_reader_holds_up_nobody(server, service):
    slow = connect(server.port, "/v1/chat/completions", body("be long"))
    wait_until(lambda: len(service.running) == 1)
    for _ in range(3):
        answer = httpx.post(f"{server.url}/v1/chat/completions", json=body("hi", stream=False))
        assert answer.json()["choices"][0]["message"]["content"] == TEXT
    assert len(service.running) == 1  # it waits for its reader

    with slow.makefile("rb") as lines:
        seen = b"".join(iter(lines.readline, b"0\r\n"))
    slow.close()
    assert seen.count(LONG.encode()) == NUM_LONG


def test_a_slow_reader_holds_up_no_ping(server, service):
    slow = connect(server.port, "/v1/chat/completions", body("flood and wait"))
    wait_until(lambda: len(service.running) == 1)
    silent = connect(server.port, "/v1/chat/completions", body("wait for ever"))
    for _ in range(2):
        read_until(silent, b": ping\n\n")
    silent.close()
    slow.close()
    wait_until(lambda: not service.running)


@pytest.mark.parametrize(("text", "code"), [("fail", "gone"), ("break", "internal_error")])
def test_an_error_in_a_stream_is_an_error_of_the_client(server, text, code):
    with (
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="none") as client,
        client.chat.completions.create(**body(text)) as stream,
        pytest.raises(openai.APIError) as caught,
    ):
        list(stream)
    assert caught.value.code == code
    assert "secret" not in str(caught.value)

    with (
        anthropic.Anthropic(base_url=server.url, api_key="none") as client,
        client.messages.create(**body(text, max_tokens=5)) as stream,
        pytest.raises(anthropic.APIStatusError) as caught,
    ):
        list(stream)
    assert "secret" not in str(caught.value)

    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
        *_, last = client.responses.create(model=MODEL, input=text, stream=True)
    assert (last.type, last.response.error.code) == ("response.failed", code)
    assert f'"outcome":"{code}"' in server.log[-1]


@pytest.mark.parametrize("text", ["break", "break at once"])
def test_a_bug_is_told_without_its_details(server, text, caplog):
    answer = httpx.post(f"{server.url}/v1/chat/completions", json=body(text, stream=False))

    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal_error"
    assert "secret" not in answer.text
    assert "a secret" in caplog.text  # for us


def test_a_server_that_loads_says_so(server, service):
    models, service.models = service.models, ()
    service.health = Health.LOADING
    try:
        health = httpx.get(f"{server.url}/health")
        model = httpx.get(f"{server.url}/v1/models/llama")
        answer = httpx.post(f"{server.url}/v1/messages", json=body("hi"))
    finally:
        service.health, service.models = Health.READY, models

    assert (health.status_code, health.json()) == (503, {"status": "loading"})
    assert (model.status_code, model.json()["error"]["code"]) == (503, "loading")
    assert answer.status_code == 503
    assert answer.json()["error"]["type"] == "overloaded_error"
    assert answer.headers["retry-after"] == "1"


def test_open_streams_are_finished_and_new_ones_refused():
    with serving(ScriptedService(play)) as server, httpx.Client(base_url=server.url) as client:
        connection = connect(server.port, "/v1/chat/completions", body("wait a little"))
        read_until(connection, b"The")
        client.get("/health")
        server.call(server.server.begin_drain)
        wait_until(lambda: client.get("/health").json() == {"status": "draining"})
        refused = client.post("/v1/chat/completions", json=body("hi"))
        seen = read_until(connection, b"[DONE]")
        connection.close()
        server.join()

    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "draining"
    assert b'"finish_reason":"stop"' in seen


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_streams_that_outlast_the_drain_are_told_why(path):
    service = ScriptedService(play)
    with serving(service, HttpOptions(drain_seconds=0.05)) as server:
        connection = connect(server.port, path, body("wait for ever", max_tokens=5))
        read_until(connection, b"Wait")
        server.call(server.server.begin_drain)
        seen = read_until(connection, b"0\r\n\r\n")
        connection.close()
        server.join()

    assert b"the server ends" in seen
    assert service.given_up


def test_a_second_wish_to_end_breaks_streams_off():
    service = ScriptedService(play)
    with serving(service, HttpOptions(drain_seconds=1000)) as server:
        connection = connect(server.port, "/v1/chat/completions", body("wait for ever"))
        read_until(connection, b"Wait")
        server.call(server.server.begin_drain)
        server.call(server.server.begin_drain)
        assert b"the server ends" in read_until(connection, b"0\r\n\r\n")
        connection.close()
        server.join()

    assert service.given_up


def test_tokens_that_are_ready_together_are_one_chunk(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
        chunks = client.chat.completions.create(**body("be fast", n=2))
        texts = [(one.choices[0].index, one.choices[0].delta.content) for one in chunks]

    assert [text for text in texts if text[1]] == [(0, "ab"), (1, "c"), (0, "d")]
