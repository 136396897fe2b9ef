"""Traces of requests: reading them, replaying them, saying what came out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.errors import ConfigurationError
from onewafer.server.replay import Replay, TraceRequest, read_trace, replay
from onewafer.server.replay.summary import distributions, render, to_json
from onewafer.terminal import to_text
from tests.server.systems import PlainSystem

if TYPE_CHECKING:
    from pathlib import Path


def _line(**fields: object) -> str:
    return json.dumps({"timestamp": 0, "input_length": 3, "output_length": 2, **fields})


def test_a_trace_is_read_in_the_order_of_its_times(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(_line(timestamp=1500) + "\n\n" + _line(timestamp=20, input_length=7) + "\n")
    first, second = read_trace(path)
    assert (first.line, first.seconds, first.prompt_tokens) == (3, 0.02, 7)
    assert (second.line, second.seconds, second.answer_tokens) == (1, 1.5, 2)
    assert not set(first.prompt()) & set(second.prompt())


def test_equal_hash_ids_are_equal_tokens(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    lines = [
        _line(input_length=600, hash_ids=[4, 9]),
        _line(input_length=1_024, hash_ids=[4, 8]),
    ]
    path.write_text("\n".join(lines))
    first, second = (one.prompt() for one in read_trace(path))
    assert len(first) == 600
    assert first[:512] == second[:512]
    assert first[512] != second[512]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "no JSON"),
        ("[1]", "no JSON object"),
        ("[" * 100_000, "no JSON"),
        (_line(timestamp=-1), "timestamp is -1"),
        (_line(timestamp=True), "no timestamp"),
        (_line(timestamp=float("nan")), "timestamp is nan"),
        (_line(timestamp=10**400), "timestamp is 1000"),
        (_line(input_length=0), "input_length is 0"),
        (_line(output_length=1.5), "output_length is 1.5"),
        ('{"timestamp": 0, "input_length": 3}', "output_length is missing"),
        (_line(input_length=513, hash_ids=[1]), "2 are needed"),
        (_line(hash_ids=[-1]), "hash_ids"),
        (_line(delay=3), "write a timestamp"),
    ],
)
def test_a_line_that_is_no_request_is_named(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(_line() + "\n" + line)
    with pytest.raises(ConfigurationError, match=r"trace\.jsonl:2: ") as caught:
        read_trace(path)
    assert said in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xff\xfe"])
def test_a_file_that_is_no_trace_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"trace\.jsonl"):
        read_trace(path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_trace(tmp_path / "none.jsonl")


def _request(line: int, seconds: float, prompt: int, answer: int) -> TraceRequest:
    return TraceRequest(line=line, seconds=seconds, prompt_tokens=prompt, answer_tokens=answer)


def test_a_replay_says_rates_waits_and_refusals() -> None:
    trace = [_request(1, 0.0, 1, 2), _request(2, 0.0, 240, 20), _request(3, 10.0, 1, 1)]
    result = replay(PlainSystem(), trace)
    assert [one.request.line for one in result.requests] == [1, 3]
    assert [one.line for one in result.refused] == [2]
    assert result.seconds == 11.0
    assert result.tokens_per_second == pytest.approx(3 / 11)
    assert distributions(result)["ttft"] == {"mean": 1.0, "p50": 1.0, "p90": 1.0, "p99": 1.0}
    assert list(result.gaps) == [1.0]
    text = to_text(render(result), 100)
    assert "2 requests in 11 s" in text
    assert "line 2" in text
    written = json.loads(to_json(result))
    assert written["refused_lines"] == [2]
    assert written["requests"][0]["last_token_seconds"] == 2.0


def test_a_trace_of_which_nothing_fits_has_no_rates() -> None:
    result = replay(PlainSystem(), [_request(1, 0.0, 300, 1)])
    assert "1 request refused" in to_text(render(result), 100)
    assert json.loads(to_json(result))["tokens_per_second"] == 0.0


@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.integers(1, 9), st.integers(1, 5)), min_size=1, max_size=9
    )
)
def test_progress_and_pieces_change_nothing(asked: list[tuple[int, int, int]]) -> None:
    trace = [
        _request(line, float(seconds), prompt, answer)
        for line, (seconds, prompt, answer) in enumerate(sorted(asked), 1)
    ]
    seen: list[tuple[int, int]] = []

    def note(done: int, of: int) -> None:
        seen.append((done, of))

    def played(result: Replay) -> object:
        return result.requests, list(result.gaps)

    assert played(replay(PlainSystem(), trace)) == played(
        replay(PlainSystem(), trace, progress=note)
    )
    assert seen[-1] == (len(trace), len(trace))
