"""Who may ask: keys, and without keys programs of this computer."""

import httpx
import pytest

from onewafer.errors import ConfigurationError
from onewafer.server.http.options import HttpOptions
from onewafer.server.http.serving import listen
from tests.server.running import serving, wait_until
from tests.server.scripted import MODEL, ScriptedService

ASK = {"model": MODEL, "messages": [{"role": "user", "content": "My secret is 42."}]}
EVERYWHERE = "0.0.0.0"  # noqa: S104  # the case
PAGE = "https://page.example"


@pytest.fixture(scope="module")
def keyed():
    options = HttpOptions(keys=("first", "sécond"), origins=(PAGE,), max_body_bytes=5000)
    with serving(ScriptedService(), options) as running:
        yield running


@pytest.fixture(scope="module")
def open_server():
    with serving(ScriptedService()) as running:
        yield running


def chat(running, headers, **more):
    return httpx.post(f"{running.url}/v1/chat/completions", json=ASK | more, headers=headers)


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer first"},
        {"Authorization": "bearer sécond".encode()},
        {"x-api-key": "first"},
        {"x-api-key": "first", "authorization": "Bearer wrong"},
    ],
)
def test_a_key_lets_in(keyed, headers):
    assert chat(keyed, headers).status_code == 200


@pytest.mark.parametrize(
    ("headers", "what"),
    [
        ({}, "missing"),
        ({"authorization": "Basic first"}, "missing"),
        ({"authorization": "Bearer"}, "missing"),
        ({"authorization": "Bearer firs"}, "wrong"),
        ({"authorization": "Bearer firstfirst"}, "wrong"),
        ({"x-api-key": "second"}, "wrong"),
        ({"x-api-key": b"\xff\xfe"}, "wrong"),
    ],
)
@pytest.mark.parametrize("path", ["chat/completions", "models", "nowhere"])
def test_without_a_key_nothing_is_said(keyed, headers, what, path):
    answer = httpx.post(f"{keyed.url}/v1/{path}", json=ASK, headers=headers)

    assert answer.status_code == 401
    assert answer.json()["error"]["message"].startswith(f"The key is {what}")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_metrics_need_the_key_and_health_does_not(keyed):
    assert httpx.get(f"{keyed.url}/metrics").status_code == 401
    assert httpx.get(f"{keyed.url}/health").json() == {"status": "ready"}
    assert httpx.get(f"{keyed.url}/v1/tcp_warming").status_code == 200


def test_no_secret_is_in_the_log(keyed):
    before = len(keyed.log)
    chat(keyed, {"x-api-key": "first"})
    httpx.get(f"{keyed.url}/health?key=first")
    wait_until(lambda: len(keyed.log) == before + 2)

    lines = "\n".join(keyed.log[before:])
    assert "first" not in lines
    assert "secret" not in lines
    assert '"completion_tokens":6' in lines


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "LOCALHOST:80", "[::1]:8000"])
def test_names_of_this_computer_come_in(open_server, host):
    assert chat(open_server, {"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example:80",
        "10.0.0.1",
        "[",
        "[::1].evil.example",
    ],
)
def test_other_names_do_not_come_in_without_a_key(open_server, host):
    answer = chat(open_server, {"host": host})

    assert answer.status_code == 403
    assert "--api-key" in answer.json()["error"]["message"]


def test_other_pages_do_not_come_in_without_a_key(open_server):
    own = {"host": "localhost:8000", "origin": "http://localhost:8000"}

    assert chat(open_server, own).status_code == 200
    assert chat(open_server, {"origin": PAGE}).status_code == 403
    assert chat(open_server, {"origin": "null"}).status_code == 403


def test_pages_that_are_named_may_ask(keyed):
    asks = {"origin": PAGE, "access-control-request-method": "POST"}
    asks["access-control-request-headers"] = "authorization,content-type"
    before = httpx.options(f"{keyed.url}/v1/chat/completions", headers=asks)
    answer = chat(keyed, {"origin": PAGE, "x-api-key": "first"})
    other = httpx.options(
        f"{keyed.url}/v1/chat/completions", headers=asks | {"origin": "https://evil.example"}
    )

    assert before.headers["access-control-allow-origin"] == PAGE
    assert "authorization" in before.headers["access-control-allow-headers"]
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "access-control-allow-origin" not in other.headers


def test_a_large_body_is_refused_before_it_is_read(keyed):
    headers = {"x-api-key": "first"}
    stated = chat(keyed, headers, user="x" * 10_000)
    streamed = httpx.post(
        f"{keyed.url}/v1/chat/completions",
        content=(b" " * 1000 for _ in range(10)),
        headers=headers,
    )

    assert (stated.status_code, streamed.status_code) == (413, 413)
    assert "5000 bytes" in stated.json()["error"]["message"]


def test_a_port_that_is_taken_is_one_sentence(open_server):
    taken = f"port {open_server.port} of 127.0.0.1: .*; choose another one with --port"
    with pytest.raises(ConfigurationError, match=taken):
        listen("127.0.0.1", open_server.port, has_key=False)


def test_other_computers_come_in_only_with_a_key():
    with pytest.raises(ConfigurationError, match="give a key with --api-key"):
        listen(EVERYWHERE, 0, has_key=False)
    with pytest.raises(ConfigurationError, match="--host nowhere-invalid"):
        listen("nowhere-invalid", 0, has_key=True)
    listen(EVERYWHERE, 0, has_key=True).close()
