"""Log probabilities of `/v1/completions`, where a token may be a part of a character."""

import json

from onewafer.server.contract.events import ChosenToken, Delta, TokenLogprob
from onewafer.server.dialects.completions import read_completion
from onewafer.server.dialects.dialect import Envelope

ENVELOPE = Envelope(id="r", created=0.0, fingerprints={})
BODY = {"model": "m", "prompt": "x", "logprobs": 3, "stream": True}


def token(data, number=0, text=None):
    shown = data.decode("utf-8", "replace") if text is None else text
    return TokenLogprob(token=shown, data=data, id=number, logprob=-0.5 - number)


def test_parts_of_characters_are_shown_by_their_bytes():
    writer = read_completion(BODY, ENVELOPE).writer
    first, second = token(b"\xc3"), token(b"\x9f", 1)
    end = token(b"", 2, "<|im_end|>")
    chosen = (
        ChosenToken(chosen=first, top=(first, second, end)),
        ChosenToken(chosen=second),
        ChosenToken(chosen=token(b"s")),
    )
    written = writer.write([Delta(answer=0, text="ßs", tokens=(0, 1, 0), logprobs=chosen)])
    logprobs = json.loads(written.removeprefix("data: "))["choices"][0]["logprobs"]

    assert logprobs["tokens"] == ["bytes:\\xc3", "bytes:\\x9f", "s"]
    assert logprobs["top_logprobs"][0] == {
        "bytes:\\xc3": -0.5,
        "bytes:\\x9f": -1.5,
        "<|im_end|>": -2.5,
    }
    assert logprobs["text_offset"] == [0, 0, 1]
