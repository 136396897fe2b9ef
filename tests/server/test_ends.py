"""How a server under load ends, begins again and refuses, and what its clients see of it."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import httpx
import openai
import pytest

from onewafer.server.engine.requests import Pace
from onewafer.server.engine.service import LiveService
from tests.server.paced import NUM_SLOTS, load
from tests.server.running import serving, wait_until
from tests.server.test_streams import connect, read_until

PATH = "/v1/completions"
LONGEST = 90_000
"""Tokens of an answer that lasts half an hour."""


@dataclass(frozen=True)
class Paced:
    """A server in a process."""

    process: subprocess.Popen[str]
    port: int

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"


def begin_streams(port, max_tokens):
    """Open as many streams as there are slots, and wait until each has its own."""
    asked = {"model": "m", "prompt": "5", "max_tokens": max_tokens, "ignore_eos": True}
    streams = [connect(port, PATH, {**asked, "stream": True}) for _ in range(NUM_SLOTS)]
    for stream in streams:
        read_until(stream, b"200 OK")
    return streams


@contextmanager
def paced(pace, *, port=0, drain=60.0) -> Iterator[Paced]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.server.paced", str(port), pace, str(drain)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            lines = iter(process.stdout.readline, "")
            where = next(lines).split()[2]
            assert any("OpenAI clients" in line for line in lines)
            yield Paced(process, int(where.rpartition(":")[2]))
        finally:
            process.kill()


def test_a_signal_under_load_finishes_every_stream_and_refuses_new_ones():
    with paced("virtual") as server, httpx.Client(base_url=server.url, timeout=60) as client:
        streams = begin_streams(server.port, max_tokens=30)
        client.post("/onewafer/advance", json={"seconds": 0.1})
        for stream in streams:
            read_until(stream, b'"text":"')
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: client.get("/health").json() == {"status": "draining"})
        refused = client.post(PATH, json={"model": "m", "prompt": "5"})
        client.post("/onewafer/advance", json={"seconds": 100})
        ends = [read_until(stream, b"0\r\n\r\n") for stream in streams]
        for stream in streams:
            stream.close()
        assert server.process.wait(60) == 0

    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "draining")
    for end in ends:
        assert b'"finish_reason":"length"' in end
        assert end.count(b"[DONE]") == 1


def test_a_client_comes_again_when_the_queue_was_full():
    service = LiveService()
    service.begin(load(Pace.WAFER))
    with closing(service), serving(service) as server:
        streams = begin_streams(server.port, LONGEST)
        refusals = []

        def make_room(response):
            if response.status_code == 429:
                refusals.append(int(response.headers["retry-after"]))
                streams.pop().close()

        with (
            httpx.Client(event_hooks={"response": [make_room]}) as http,
            openai.OpenAI(
                base_url=f"{server.url}/v1", api_key="none", max_retries=5, http_client=http
            ) as client,
        ):
            raw = client.completions.with_raw_response.create(model="m", prompt="5", max_tokens=2)
        for stream in streams:
            stream.close()
    assert raw.retries_taken == len(refusals) >= 1
    assert min(refusals) >= 1
    assert raw.parse().usage.completion_tokens == 2


@pytest.mark.slow
def test_a_server_that_was_killed_leaves_its_port_to_the_next_one():
    with paced("wafer") as server:
        streams = begin_streams(server.port, LONGEST)
        server.process.kill()
        server.process.wait(60)
        for stream in streams:
            with pytest.raises((AssertionError, ConnectionResetError)):
                read_until(stream, b"[DONE]")
            stream.close()
    with paced("wafer", port=server.port, drain=0.1) as following:
        streams = begin_streams(following.port, LONGEST)
        following.process.send_signal(signal.SIGTERM)
        for stream in streams:
            assert b"the server ends" in read_until(stream, b"0\r\n\r\n")
            stream.close()
        assert following.process.wait(60) == 0
