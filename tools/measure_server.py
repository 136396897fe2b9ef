"""How many requests and chunks `onewafer serve --values none` writes, over HTTP, on one computer.

    python tools/measure_server.py
    python tools/measure_server.py --streams 200 --rounds 3

The server is the command itself, in a process of its own; this process is its client, and checks
every answer against the one that is not streamed. CPU seconds are those of the server's process
(Linux: `/proc/PID/stat`). Measure on an idle computer: beside other work rates fall, and CPU
seconds rise by a third, since programs share caches. Each figure is the median of the rounds;
*open* is the most streams that had begun and not ended at one time; the last column is what is
asked for. Tokens that are ready together come as one chunk.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from onewafer.server.assembly import describe, lay_over
from onewafer.server.options import ServerOptions, ValuesKind
from onewafer.server.replay import replay
from onewafer.server.replay.trace import TraceRequest
from onewafer.terminal import progress_bar

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

MODEL = "llama-3.1-8b"
PROMPT_TOKENS = 128
SHORT, LONG = 16, 256
"""Tokens of an answer."""
CONNECTIONS = 32
"""Clients that ask at a time, one request after the other, where not all come at once."""
_HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n"
_RUN = "from onewafer.cli.commands import onewafer; onewafer()"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Requests of one kind."""

    title: str
    num_requests: int
    answer_tokens: int
    is_streamed: bool
    num_connections: int = CONNECTIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """The cost of one round of a load."""

    seconds: float
    cpu_seconds: float
    """CPU time of the server."""
    num_chunks: int
    most_open: int
    """The most answers that had begun and not ended at one time."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers."""

    port: int
    process: int

    def cpu_seconds(self) -> float:
        """Return what it has used so far."""
        fields = Path(f"/proc/{self.process}/stat").read_text(encoding="utf-8").rpartition(")")[2]
        return sum(map(int, fields.split()[11:13])) / _TICKS


class Client(asyncio.Protocol):
    """One connection: it asks one question after the other, and keeps what comes."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._transport: asyncio.Transport | None = None
        self._pieces: list[bytes] = []
        self._tail = b""
        self._answer: asyncio.Future[bytes] | None = None
        self._end = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way out."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Break off: a server that closes early has lost an answer."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        """Keep what comes, until the end of the answer."""
        if not self._pieces:
            self._watch.open()
        self._pieces.append(data)
        self._tail = (self._tail + data)[-len(self._end) :]
        if self._tail == self._end and self._answer is not None:
            self._watch.close()
            self._answer.set_result(b"".join(self._pieces))

    async def ask(self, body: bytes, end: bytes) -> bytes:
        """Return the answer to a body, whose last bytes are `end`."""
        assert self._transport is not None
        self._pieces, self._tail, self._end = [], b"", end
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(_HEAD % len(body) + body)
        return await self._answer

    def leave(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()


class Watch:
    """Counts the answers that have begun and not ended."""

    def __init__(self) -> None:
        self._num_open = 0
        self.most_open = 0

    def open(self) -> None:
        """Count an answer that begins."""
        self._num_open += 1
        self.most_open = max(self.most_open, self._num_open)

    def close(self) -> None:
        """Count an answer that ends."""
        self._num_open -= 1


def body(number: int, num_words: int, load: Load) -> bytes:
    """Return the body of one request: no two have the same prompt."""
    fields: dict[str, object] = {
        "model": MODEL,
        "messages": [{"role": "user", "content": f"{number:06}" + " wafer" * num_words}],
        "max_tokens": load.answer_tokens,
        "temperature": 0,
        "ignore_eos": True,
        "stream": load.is_streamed,
    }
    return json.dumps(fields).encode()


async def ask_all(server: Server, bodies: Sequence[bytes], load: Load) -> tuple[Round, list[bytes]]:
    """Ask everything over some connections; return what it took, and the answers in order."""
    loop, watch = asyncio.get_running_loop(), Watch()
    clients = [
        (await loop.create_connection(lambda: Client(watch), "127.0.0.1", server.port))[1]
        for _ in range(load.num_connections)
    ]
    answers: list[bytes] = [b""] * len(bodies)
    questions = iter(enumerate(bodies))
    end = b"data: [DONE]\n\n\r\n0\r\n\r\n" if load.is_streamed else b"}}"

    async def work(client: Client) -> None:
        for number, question in questions:
            answers[number] = await client.ask(question, end)

    cpu, start = server.cpu_seconds(), time.perf_counter()
    await asyncio.gather(*map(work, clients))
    seconds, cpu = time.perf_counter() - start, server.cpu_seconds() - cpu
    for client in clients:
        client.leave()
    num_chunks = sum(answer.count(b"data: {") for answer in answers)
    took = Round(seconds=seconds, cpu_seconds=cpu, num_chunks=num_chunks, most_open=watch.most_open)
    return took, answers


def read_answer(answer: bytes, *, is_streamed: bool) -> tuple[str, int]:
    """Return the text of an answer and its number of tokens, and hold its chunks together."""
    if not is_streamed:
        whole = json.loads(answer.partition(b"\r\n\r\n")[2])
        return whole["choices"][0]["message"]["content"], whole["usage"]["completion_tokens"]
    chunks = [json.loads(found) for found in re.findall(rb"data: (\{.*\})\n", answer)]
    assert len({chunk["id"] for chunk in chunks}) == 1, "a stream has chunks of another one"
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    return text, chunks[-1]["usage"]["completion_tokens"]


def check(answers: Sequence[bytes], expected: Sequence[str], load: Load) -> None:
    """Stop if a token was lost, doubled or out of order: texts are those of whole answers."""
    for number, answer in enumerate(answers):
        text, num_tokens = read_answer(answer, is_streamed=load.is_streamed)
        if num_tokens != load.answer_tokens or text != expected[number]:
            raise SystemExit(f"answer {number} is wrong: {text!r}, not {expected[number]!r}")


def measure(server: Server, load: Load, num_words: int, rounds: int) -> list[Round]:
    """Return what some rounds took, every answer of which was right."""
    plain = Load(
        title="",
        num_requests=load.num_requests,
        answer_tokens=load.answer_tokens,
        is_streamed=False,
    )
    numbers = range(load.num_requests)
    _, whole = asyncio.run(ask_all(server, [body(n, num_words, plain) for n in numbers], plain))
    expected = [read_answer(answer, is_streamed=False)[0] for answer in whole]
    results: list[Round] = []
    for _ in range(rounds):
        questions = [body(n, num_words, load) for n in numbers]
        took, answers = asyncio.run(ask_all(server, questions, load))
        check(answers, expected, load)
        results.append(took)
    return results


def find_num_words(server: Server) -> int:
    """Return how many words a prompt of `PROMPT_TOKENS` has besides its number."""
    load = Load(title="", num_requests=1, answer_tokens=1, is_streamed=False, num_connections=1)

    def num_tokens(num_words: int) -> int:
        _, [answer] = asyncio.run(ask_all(server, [body(0, num_words, load)], load))
        return json.loads(answer.partition(b"\r\n\r\n")[2])["usage"]["prompt_tokens"]

    fixed, per_word = num_tokens(0), num_tokens(1) - num_tokens(0)
    return max(0, PROMPT_TOKENS - fixed) // per_word


@contextmanager
def serving() -> Generator[Server]:
    """Run the command, from its first line to its end."""
    options = ("--values", "none", "--port", "0", "--max-batch", "64", "--max-waiting", "100000")
    process = subprocess.Popen(  # noqa: S603  # nothing of it comes from elsewhere
        [sys.executable, "-c", _RUN, "serve", MODEL, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.match(r"OpenAI clients: http://127.0.0.1:(\d+)/", line):
                yield Server(int(found[1]), process.pid)
                break
        else:
            raise SystemExit("the server did not start")
    finally:
        process.terminate()
        process.wait()


def scheduler_microseconds() -> float:
    """Return what the system's clock costs for each token of an answer, prompts included."""
    options = ServerOptions(values=ValuesKind.NONE, max_batch=64)
    with progress_bar() as bar:
        system = lay_over(describe(MODEL, bar.say), options.on, options, bar)
    trace = [
        TraceRequest(
            line=number, seconds=number / 50, prompt_tokens=PROMPT_TOKENS, answer_tokens=SHORT
        )
        for number in range(1, 201)
    ]
    costs: list[float] = []
    for _ in range(3):  # the first one learns how long launches take
        start = time.process_time()
        replay(system, trace)
        costs.append(1e6 * (time.process_time() - start) / (len(trace) * SHORT))
    return median(costs)


def show(load: Load, results: Sequence[Round]) -> None:
    """Print the line of a load."""
    seconds = median(one.seconds for one in results)
    cpu = median(one.cpu_seconds for one in results)
    tokens = load.num_requests * load.answer_tokens
    most_open = min(one.most_open for one in results)
    if load.is_streamed:
        chunks = median(one.num_chunks for one in results)
        done, wanted, unit = tokens / cpu, 20_000, f"tokens, {tokens / chunks:.1f} a chunk"
    else:
        done, wanted, unit = load.num_requests / cpu, 500, "requests"
    print(
        f"{load.title:38} {load.num_requests / seconds:10,.0f} {tokens / seconds:8,.0f} "
        f"{1e3 * cpu / load.num_requests:14.2f} {1e6 * cpu / tokens:12.0f} {most_open:6,}"
        f"   {done / wanted:.2f} of {wanted:,} {unit}"
    )


def loads(num_requests: int, num_streams: int) -> list[Load]:
    """Return what is measured."""
    prompt = f"{PROMPT_TOKENS} in"
    short = {"num_requests": num_requests, "answer_tokens": SHORT}
    return [
        Load(title=f"{prompt}/{SHORT} out, not streamed", is_streamed=False, **short),
        Load(title=f"{prompt}/{SHORT} out, streamed", is_streamed=True, **short),
        Load(
            title=f"{prompt}/{LONG} out, {num_streams:,} asked at once",
            num_requests=num_streams,
            answer_tokens=LONG,
            is_streamed=True,
            num_connections=num_streams,
        ),
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measure the server over HTTP.")
    parser.add_argument("--requests", type=int, default=1000, help="of each load of short answers")
    parser.add_argument("--streams", type=int, default=1000, help="that are asked for at once")
    parser.add_argument("--rounds", type=int, default=5, help="the median counts")
    arguments = parser.parse_args()
    cost = scheduler_microseconds()
    print(f"scheduler: {cost:.0f} CPU µs a token of an answer   wanted: at most 50")
    with serving() as server:
        num_words = find_num_words(server)
        print(
            f"{'':38} {'requests/s':>10} {'tokens/s':>8} {'CPU ms/request':>14} "
            f"{'CPU µs/token':>12} {'open':>6}   wanted in a CPU second"
        )
        for load in loads(arguments.requests, arguments.streams):
            show(load, measure(server, load, num_words, arguments.rounds))


if __name__ == "__main__":
    main()
