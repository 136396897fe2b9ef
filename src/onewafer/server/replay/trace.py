"""Traces of requests in Mooncake's format: one JSON object a line.

    {"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47, 2353]}

`timestamp` is in milliseconds. Each of `hash_ids` names a block of 512 tokens of the prompt; equal
beginnings of two prompts have equal ids. Without them no two prompts have a beginning in common.
(Qin et al., "Mooncake", FAST'25; NVIDIA's aiperf and dynamo read the same.)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, cast

from onewafer.errors import ConfigurationError
from onewafer.terminal import cut_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

BLOCK_TOKENS = 512
"""Tokens of a block, which one of `hash_ids` names."""
_MOST_TOKENS = 10_000_000
_MOST_MILLISECONDS = 10**12
"""About 30 years."""
_REFUSED = {
    "delay": "the time after an earlier answer; write a timestamp",
    "text_input": "a text; write its number of tokens as input_length",
    "messages": "a conversation; write its number of tokens as input_length",
}
"""Fields of related formats that would change the meaning of a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRequest:
    """One line of a trace."""

    line: int
    """The number of the line, from 1."""
    seconds: float
    prompt_tokens: int
    answer_tokens: int
    hash_ids: tuple[int, ...] = ()

    def prompt(self) -> Sequence[int]:
        """Return made-up tokens, which share a prefix with other lines as `hash_ids` say."""
        if not self.hash_ids:
            first = -self.line * _MOST_TOKENS
            return range(first, first + self.prompt_tokens)
        blocks = (range(i * BLOCK_TOKENS, (i + 1) * BLOCK_TOKENS) for i in self.hash_ids)
        return tuple(islice(chain.from_iterable(blocks), self.prompt_tokens))


def read_trace(path: Path) -> tuple[TraceRequest, ...]:
    """Read the requests of a trace, sorted by time.

    Raises:
        ConfigurationError: the file cannot be read, or a line, which it names, is no request.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or cut_words(str(error))
        raise ConfigurationError(f"{path} cannot be read: {reason}") from None
    requests = tuple(_requests(path, text))
    if not requests:
        raise ConfigurationError(
            f'{path} has no request; write a line as {{"timestamp": 0, "input_length": 100, '
            '"output_length": 20}'
        )
    return tuple(sorted(requests, key=lambda one: one.seconds))


def _requests(path: Path, text: str) -> Iterator[TraceRequest]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield _request(number, line)
            except ValueError as error:
                raise ConfigurationError(f"{path}:{number}: {cut_words(str(error))}") from None


def _request(number: int, line: str) -> TraceRequest:
    """Parse a line; raise ValueError if it is no request."""
    try:
        found: object = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004  # a finding about the file
    fields = cast("dict[str, object]", found)
    for name, meaning in _REFUSED.items():
        if name in fields:
            raise ValueError(f"it has {name!r}, {meaning}")
    prompt = _whole(fields, "input_length")
    hash_ids = _hash_ids(fields)
    if hash_ids and len(hash_ids) != -(-prompt // BLOCK_TOKENS):
        raise ValueError(
            f"it has {len(hash_ids):,} hash_ids for input_length {prompt:,}; each stands for "
            f"{BLOCK_TOKENS} tokens, so {-(-prompt // BLOCK_TOKENS):,} are needed"
        )
    return TraceRequest(
        line=number,
        seconds=_milliseconds(fields) / 1e3,
        prompt_tokens=prompt,
        answer_tokens=_whole(fields, "output_length"),
        hash_ids=hash_ids,
    )


def _milliseconds(fields: Mapping[str, object]) -> float:
    value = fields.get("timestamp")
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError("it has no timestamp, a number of milliseconds")  # noqa: TRY004  # as above
    if not 0 <= value <= _MOST_MILLISECONDS:
        raise ValueError(f"timestamp is {value}; it must be 0 to {_MOST_MILLISECONDS:,} ms")
    return float(value)


def _whole(fields: Mapping[str, object], name: str) -> int:
    value = fields.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MOST_TOKENS:
        said = "missing" if name not in fields else str(value)
        raise ValueError(f"{name} is {said}; it must be a whole number of 1 to {_MOST_TOKENS:,}")
    return value


def _hash_ids(fields: Mapping[str, object]) -> tuple[int, ...]:
    value = fields.get("hash_ids")
    if value is None:
        return ()
    if not isinstance(value, list) or any(
        not isinstance(one, int) or isinstance(one, bool) or one < 0
        for one in cast("list[object]", value)
    ):
        raise ValueError("hash_ids is no list of whole numbers that are not negative")
    return tuple(cast("list[int]", value))
