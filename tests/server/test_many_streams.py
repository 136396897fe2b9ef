"""A thousand open streams: no token is lost, doubled or out of order."""

import asyncio
import json
import re
import sys

import pytest

from onewafer.server.contract.events import Delta, Ended, Reason, Started
from tests.server.running import serving
from tests.server.scripted import MODEL, ScriptedService, completed

NUM_TOKENS = 20


class Ticking(ScriptedService):
    """Gives every open stream a token at a time, in turns, once all are open."""

    def __init__(self, num_streams):
        super().__init__()
        self._num_streams = num_streams
        self._num_open = 0
        self._all_open = asyncio.Event()

    async def answer(self, generation):
        yield (Started(prompt_tokens=1, cached_tokens=0),)
        self._num_open += 1
        if self._num_open == self._num_streams:
            self._all_open.set()
        await self._all_open.wait()
        for i in range(NUM_TOKENS):
            await asyncio.sleep(0)
            yield (Delta(answer=0, text=f"<{prompt(generation)}:{i}>", tokens=(i,)),)
        yield (Ended(answer=0, reason=Reason.END), completed(generation, NUM_TOKENS))


def prompt(generation):
    return generation.prompt.messages[0].text


async def ask(port, number):
    """Return the words that a stream brings."""
    message = {"role": "user", "content": str(number)}
    content = json.dumps({"model": MODEL, "messages": [message], "stream": True}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
        b"content-length: %d\r\n\r\n%s" % (len(content), content)
    )
    seen = await reader.readuntil(b"\r\n0\r\n\r\n")
    writer.close()
    return re.findall(rb"<(\d+:\d+)>", seen)


async def ask_all(port, num_streams):
    return await asyncio.gather(*(ask(port, number) for number in range(num_streams)))


@pytest.mark.parametrize(
    ("num_streams", "has_uvloop"),
    [(100, True), (20, False), pytest.param(1000, True, marks=pytest.mark.slow)],
)
def test_every_stream_has_its_tokens_in_order(num_streams, has_uvloop, monkeypatch):
    if not has_uvloop:
        monkeypatch.setitem(sys.modules, "uvloop", None)
    with serving(Ticking(num_streams)) as server:
        assert type(server.loop).__module__.startswith("uvloop") is has_uvloop
        answers = asyncio.run(ask_all(server.port, num_streams))

    for number, words in enumerate(answers):
        assert words == [b"%d:%d" % (number, i) for i in range(NUM_TOKENS)]
