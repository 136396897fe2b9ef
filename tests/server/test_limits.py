"""What a request may ask for, and that large bodies are read beside open streams."""

import asyncio
import threading

import pytest

from onewafer.server.contract.failures import RequestError
from onewafer.server.dialects.chat_completions import read_chat
from onewafer.server.dialects.dialect import Envelope
from onewafer.server.dialects.messages import read_message
from onewafer.server.dialects.responses import read_response
from onewafer.server.dialects.wire import read_wire
from onewafer.server.http.endpoints import LARGE_BODY_BYTES, Advance, read_beside

ENVELOPE = Envelope(id="r", created=0.0, fingerprints={})
TURN = {"role": "user", "content": "hi"}
MANY = 10_001
PARTS = [{"type": "text", "text": "a"}] * MANY


@pytest.mark.parametrize(
    ("dialect", "body", "param"),
    [
        (read_chat, {"messages": [TURN] * MANY}, "messages"),
        (read_chat, {"messages": [{**TURN, "content": PARTS}]}, "messages.0.content"),
        (
            read_chat,
            {"messages": [TURN], "logit_bias": dict.fromkeys(map(str, range(1025)), 1.0)},
            "logit_bias",
        ),
        (read_message, {"messages": [TURN] * MANY, "max_tokens": 1}, "messages"),
        (read_message, {"messages": [TURN], "max_tokens": 1, "system": PARTS}, "system"),
        (read_response, {"input": [TURN] * MANY}, "input"),
    ],
)
def test_too_many_values_are_refused(dialect, body, param):
    with pytest.raises(RequestError, match="should have at most") as raised:
        dialect({"model": "m", **body}, ENVELOPE)
    assert raised.value.param == param


def test_large_bodies_are_read_in_a_thread():
    here = threading.get_ident()
    assert asyncio.run(read_beside(threading.get_ident, LARGE_BODY_BYTES)) == here
    assert asyncio.run(read_beside(threading.get_ident, LARGE_BODY_BYTES + 1)) != here


def test_the_clock_is_not_moved_beyond_what_it_can_count():
    with pytest.raises(RequestError, match="seconds: Input should be less than or equal"):
        read_wire(Advance, {"seconds": 1e300})


def test_an_answer_that_ignores_its_end_is_still_ended_by_its_texts():
    body = {"model": "m", "messages": [TURN], "ignore_eos": True, "stop": "x"}
    generation = read_chat(body, ENVELOPE).generation

    assert generation.sampling.ignores_end
    assert generation.sampling.min_tokens == 0
    assert generation.stop == ("x",)


OBJEKT = {"type": "objekt"}
INPUT = {"model": "m", "input": "Hi"}
CHAT = {"model": "m", "messages": [TURN], "max_tokens": 9}


@pytest.mark.parametrize(
    ("dialect", "body", "param"),
    [
        (
            read_chat,
            CHAT
            | {"tools": [{"type": "function", "function": {"name": "f", "parameters": OBJEKT}}]},
            "tools.0.function.parameters",
        ),
        (
            read_chat,
            CHAT
            | {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": OBJEKT},
                }
            },
            "response_format.json_schema.schema",
        ),
        (
            read_response,
            INPUT | {"tools": [{"type": "function", "name": "f", "parameters": OBJEKT}]},
            "tools.0.parameters",
        ),
        (
            read_response,
            INPUT | {"text": {"format": {"type": "json_schema", "name": "x", "schema": OBJEKT}}},
            "text.format.schema",
        ),
        (
            read_message,
            CHAT | {"tools": [{"name": "f", "input_schema": OBJEKT}]},
            "tools.0.input_schema",
        ),
        (
            read_message,
            CHAT | {"output_config": {"format": {"type": "json_schema", "schema": OBJEKT}}},
            "output_config.format.schema",
        ),
    ],
)
def test_a_schema_knows_the_field_that_has_it(dialect, body, param):
    generation = dialect(body, ENVELOPE).generation

    assert [tool.param for tool in generation.tools.tools] or [generation.form.param] == [param]
