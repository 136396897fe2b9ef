"""Requests that do not end are refused before anything looks at them, by every server of ours."""

import select
import socket
from contextlib import closing

import pytest

from onewafer.server.http.options import HttpOptions
from onewafer.web_pages import bounded_http
from tests.server.running import serving as serving_models
from tests.server.scripted import ScriptedService
from tests.viewer.recorded_runs import record_grid, viewing

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
POST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
)
LITTLE = 0.2


@pytest.fixture(scope="module", params=["models", "models with a key", "page"])
def port(request, tmp_path_factory):
    """Yield the port of a server."""
    if request.param == "page":
        with viewing(record_grid(tmp_path_factory.mktemp("page") / "a.parquet", 2, 2)) as url:
            yield int(url.rpartition(":")[2])
        return
    options = HttpOptions(keys=("key",) if "key" in request.param else ())
    with serving_models(ScriptedService(), options) as running:
        yield running.port


@pytest.fixture
def connection(port):
    with closing(socket.create_connection(("127.0.0.1", port), timeout=10)) as made:
        yield made


def read_all(connection):
    """Return what comes until the server closes the connection."""
    pieces = []
    try:
        while piece := connection.recv(65_536):
            pieces.append(piece)
    except ConnectionResetError:  # it came behind what was read
        pass
    return b"".join(pieces)


def send_for_ever(connection, piece):
    """Send until there is an answer; return it."""
    sent = 0
    while not select.select([connection], [], [], 0)[0]:
        assert sent < 64 * 2**20, "the server takes all"
        connection.sendall(piece)
        sent += len(piece)
    return read_all(connection)


def send_64_megabytes(connection, piece):
    for _ in range(1024):
        connection.sendall(piece * 10_000)


@pytest.mark.parametrize(
    ("begin", "piece", "status"),
    [
        (GET, b"A: " + b"b" * 1000 + b"\r\n", b"431 Request Header Fields Too Large"),
        (GET + b"A: ", b"b" * 65_536, b"431 Request Header Fields Too Large"),
        (GET, b"b" * 65_536, b"431 Request Header Fields Too Large"),
        (GET, b"A:b\r\n" * 1000, b"431 Request Header Fields Too Large"),
        (b"GET /", b"b" * 65_536, b"414 "),
        (b"", b"\r\n" * 1000, b"431 "),
    ],
    ids=["fields", "value", "name", "short fields", "address", "blank lines"],
)
def test_an_endless_head_is_refused(connection, begin, piece, status):
    connection.sendall(begin)
    answer = send_for_ever(connection, piece)

    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"100 fields and 65536 bytes" in answer


def test_20_000_fields_in_one_piece_are_refused(connection):
    connection.sendall(GET + b"A:b\r\n" * 20_000 + b"\r\n")
    assert read_all(connection).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("begin", [b"0\r\n", b"0\r\nA: ", b"1;"])
def test_an_endless_tail_of_a_body_is_refused(connection, begin):
    connection.sendall(POST + begin)
    with pytest.raises(ConnectionError):
        send_64_megabytes(connection, b"A: b\r\n" if begin == b"0\r\n" else b"b" * 6)


def test_a_long_head_within_the_limits_comes_in(connection):
    fields = b"".join(b"A%d: %s\r\n" % (i, b"b" * 600) for i in range(98))
    connection.sendall(GET + fields + b"Connection: close\r\n\r\n")
    assert read_all(connection).startswith(b"HTTP/1.1 200 ")


def test_two_names_of_the_server_are_refused(connection):
    connection.sendall(GET + b"host: evil.example\r\n\r\n")
    answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.endswith(b"the request has two Host fields")


@pytest.mark.parametrize("host", [b"[::1].evil.example", b"[::1]evil:80", b"localhost:80.evil"])
def test_a_name_that_begins_as_this_computer_is_another_one(connection, host, request):
    if "key" in request.node.name:
        pytest.skip("any name comes in with a key")
    connection.sendall(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n")
    assert read_all(connection).startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize("piece", [b"GET / HTTP/1.1\r\nHost", b"\r\n", GET + b"\r\n" + GET])
def test_a_head_that_does_not_come_in_time_is_refused(connection, piece, monkeypatch):
    monkeypatch.setattr(bounded_http, "HEAD_SECONDS", LITTLE)
    connection.sendall(piece)
    assert b"HTTP/1.1 408 Request Timeout" in read_all(connection)


def test_dripping_gives_no_more_time(connection, monkeypatch):
    monkeypatch.setattr(bounded_http, "HEAD_SECONDS", LITTLE)
    connection.sendall(GET)
    while not select.select([connection], [], [], LITTLE / 10)[0]:
        connection.sendall(b"A: b\r\n")
    assert read_all(connection).startswith(b"HTTP/1.1 408 ")


def test_a_body_that_the_answer_did_not_need_is_not_awaited(connection, monkeypatch):
    monkeypatch.setattr(bounded_http, "HEAD_SECONDS", LITTLE)
    connection.sendall(
        b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
    )
    answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 4")
    assert answer.count(b"HTTP/1.1") == 1


def test_a_connection_that_says_nothing_is_closed(port, monkeypatch):
    monkeypatch.setattr(bounded_http, "KEEP_ALIVE_SECONDS", LITTLE)
    with closing(socket.create_connection(("127.0.0.1", port), timeout=10)) as silent:
        assert read_all(silent) == b""


def test_requests_follow_each_other_on_a_connection(connection):
    for _ in range(3):
        connection.sendall(GET + b"\r\n")
        answer = b""
        while b"</html>" not in answer:
            answer += connection.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 200 ")


def test_too_many_requests_before_an_answer_end_the_connection(connection):
    connection.sendall((GET + b"\r\n") * 1000)
    assert read_all(connection).count(b"HTTP/1.1 ") < 1000
