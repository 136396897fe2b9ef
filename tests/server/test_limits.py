"""What a request may ask for, and that large bodies are read beside open streams."""

import asyncio
import threading

import pytest

from onewafer.server.dialects.chat_completions import ChatCompletions
from onewafer.server.dialects.dialect import Envelope
from onewafer.server.dialects.messages import Messages
from onewafer.server.dialects.responses import Responses
from onewafer.server.dialects.wire import read_wire
from onewafer.server.failures import RequestError
from onewafer.server.http.endpoints import LARGE_BODY_BYTES, Advance, read_beside

ENVELOPE = Envelope(id="r", created=0.0, fingerprints={})
TURN = {"role": "user", "content": "hi"}
MANY = 10_001
PARTS = [{"type": "text", "text": "a"}] * MANY


@pytest.mark.parametrize(
    ("dialect", "body", "param"),
    [
        (ChatCompletions(), {"messages": [TURN] * MANY}, "messages"),
        (ChatCompletions(), {"messages": [{**TURN, "content": PARTS}]}, "messages.0.content"),
        (
            ChatCompletions(),
            {"messages": [TURN], "logit_bias": dict.fromkeys(map(str, range(1025)), 1.0)},
            "logit_bias",
        ),
        (Messages(), {"messages": [TURN] * MANY, "max_tokens": 1}, "messages"),
        (Messages(), {"messages": [TURN], "max_tokens": 1, "system": PARTS}, "system"),
        (Responses(), {"input": [TURN] * MANY}, "input"),
    ],
)
def test_too_many_values_are_refused(dialect, body, param):
    with pytest.raises(RequestError, match="should have at most") as raised:
        dialect.read({"model": "m", **body}, ENVELOPE)
    assert raised.value.param == param


def test_large_bodies_are_read_in_a_thread():
    here = threading.get_ident()
    assert asyncio.run(read_beside(threading.get_ident, LARGE_BODY_BYTES)) == here
    assert asyncio.run(read_beside(threading.get_ident, LARGE_BODY_BYTES + 1)) != here


def test_the_clock_is_not_moved_beyond_what_it_can_count():
    with pytest.raises(RequestError, match="seconds: Input should be less than or equal"):
        read_wire(Advance, {"seconds": 1e300})


@pytest.mark.parametrize(("limit", "least"), [({}, 2**53), ({"max_tokens": 7}, 7)])
def test_an_answer_that_ignores_its_end_has_all_it_may_have(limit, least):
    body = {"model": "m", "messages": [TURN], "ignore_eos": True, **limit}

    assert ChatCompletions().read(body, ENVELOPE).generation.sampling.min_tokens == least
