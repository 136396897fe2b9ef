"""`/v1/completions` of OpenAI: continue a text."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Annotated, TypeAlias, cast

from pydantic import Discriminator, Field, Tag

from onewafer.server.contract.failures import RequestError
from onewafer.server.contract.generation import Generation, PlainText, Prompt, TokenIds
from onewafer.server.dialects.chunks import FINISH, ChunkWriter
from onewafer.server.dialects.dialect import Asked, Envelope
from onewafer.server.dialects.openai_wire import (
    Count,
    Natural,
    NumAnswers,
    SamplingFields,
    Stop,
    StreamOptions,
    read_least,
    read_stop,
)
from onewafer.server.dialects.wire import read_wire
from onewafer.server.dialects.writing import to_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.server.contract.events import ChosenToken, Delta, Ended, TokenLogprob
    from onewafer.server.contract.json_values import Json
    from onewafer.server.dialects.gathered import GatheredAnswer

USUAL_MAX_TOKENS = 16
"""The default of `max_tokens`, as in OpenAI's API."""
MAX_LOGPROBS = 5
MAX_TOGETHER = 1_024
"""The most answers to all prompts of a request together."""


def _prompt_kind(value: object) -> str:
    first = next(iter(cast("list[object]", value)), 0) if isinstance(value, list) else value
    if isinstance(first, str):
        return "texts" if isinstance(value, list) else "text"
    return "lists" if isinstance(first, list) else "tokens"


PromptField: TypeAlias = Annotated[
    Annotated[str, Tag("text")]
    | Annotated[list[str], Tag("texts")]
    | Annotated[list[Natural], Tag("tokens")]
    | Annotated[list[list[Natural]], Tag("lists")],
    Discriminator(_prompt_kind),
]


class CompletionRequest(SamplingFields):
    """The body of a request."""

    model: str
    prompt: PromptField
    n: NumAnswers | None = None
    best_of: NumAnswers | None = None
    stop: Stop | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Count | None = None
    min_tokens: Natural | None = None
    logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS)] | None = None
    echo: bool | None = None
    suffix: str | None = None
    user: str | None = None

    def read(self, envelope: Envelope) -> Generation:
        """Return the generation that the request asks for."""
        self._refuse_unsupported()
        limit = self.max_tokens or USUAL_MAX_TOKENS
        prompts = self.read_prompts()
        return Generation(
            id=envelope.id,
            model=self.model,
            prompt=prompts[0],
            others=tuple(prompts[1:]),
            num_answers=self.n or 1,
            max_tokens=limit,
            stop=read_stop(self.stop),
            sampling=self.read_sampling(min_tokens=read_least(self.min_tokens, limit)),
            top_logprobs=self.logprobs,
            echo=bool(self.echo),
            arrival_seconds=envelope.arrival_seconds,
        )

    def read_prompts(self) -> list[Prompt]:
        """Return the prompts; raise RequestError if there are none, or too many."""
        prompts = _read_prompts(self.prompt)
        if not prompts:
            raise RequestError("prompt: an empty list has no text to continue", param="prompt")
        if len(prompts) * (self.n or 1) > MAX_TOGETHER:
            raise RequestError(
                f"prompt: {len(prompts):,} prompts have more answers together than "
                f"{MAX_TOGETHER:,}; send fewer",
                param="prompt",
            )
        return prompts

    def _refuse_unsupported(self) -> None:
        if self.echo and self.logprobs is not None:
            raise RequestError(
                "echo: the log probabilities of a prompt are not computed; ask for 'logprobs' "
                "without 'echo'",
                param="echo",
            )
        if self.suffix:
            raise RequestError("suffix: the model only continues a text", param="suffix")
        if self.best_of is not None and self.best_of != (self.n or 1):
            raise RequestError("best_of: only the value of 'n' is supported", param="best_of")
        if self.stream_options is not None and not self.stream:
            raise RequestError("stream_options: needs 'stream': true", param="stream_options")


def _read_prompts(prompt: PromptField) -> list[Prompt]:
    match prompt:
        case str():
            return [PlainText(prompt)]
        case [int(), *_]:
            return [TokenIds(tuple(prompt))]
        case _:
            several = cast("list[str] | list[list[int]]", prompt)
            return [PlainText(p) if isinstance(p, str) else TokenIds(tuple(p)) for p in several]


class CompletionWriter(ChunkWriter):
    """Writes completions of a text."""

    def __init__(self, request: CompletionRequest, envelope: Envelope) -> None:
        num_answers = len(request.read_prompts()) * (request.n or 1)
        self._with_logprobs = request.logprobs is not None
        self._logprobs = [_TextLogprobs() for _ in range(num_answers)]
        super().__init__(
            envelope,
            prefix="cmpl",
            kinds=("text_completion", "text_completion"),
            model=request.model,
            options=request.stream_options,
            num_answers=num_answers,
        )

    def text(self, event: Delta) -> str:
        if not event.text and not event.logprobs:
            return ""
        logprobs = "null"
        if event.logprobs:
            logprobs = to_json(self._logprobs[event.answer].write(event.logprobs))
        return _choice(event.answer, to_json(event.text), logprobs=logprobs)

    def closing(self, event: Ended) -> str:
        return _choice(event.answer, '""', finish=f'"{FINISH[event.reason]}"')

    def answer(self, index: int, answer: GatheredAnswer) -> dict[str, Json]:
        logprobs = self._logprobs[index].write(answer.logprobs) if self._with_logprobs else None
        return {
            "index": index,
            "text": answer.text,
            "logprobs": logprobs,
            "finish_reason": FINISH[answer.reason],
        }


def _choice(answer: int, text: str, *, logprobs: str = "null", finish: str = "null") -> str:
    return f'{{"index":{answer},"text":{text},"logprobs":{logprobs},"finish_reason":{finish}}}'


class _TextLogprobs:
    """Writes the log probabilities of one answer; offsets are in characters of its text."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._offset = 0

    def write(self, logprobs: Sequence[ChosenToken]) -> dict[str, Json]:
        """Return lists with an entry for each token."""
        offsets: list[Json] = []
        for token in logprobs:
            offsets.append(self._offset)
            self._offset += len(self._decoder.decode(token.chosen.data))
        return {
            "tokens": [_shown(token.chosen) for token in logprobs],
            "token_logprobs": [token.chosen.logprob for token in logprobs],
            "top_logprobs": [{_shown(top): top.logprob for top in token.top} for token in logprobs],
            "text_offset": offsets,
        }


def _shown(token: TokenLogprob) -> str:
    """Return a token as a key: its text, or its bytes if it is a part of a character."""
    try:
        token.data.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token.data)
    return token.token


def read_completion(value: Json, envelope: Envelope, *, is_strict: bool = False) -> Asked:
    """Read a body; `is_strict` refuses unknown fields."""
    request = read_wire(CompletionRequest, value, unknown="forbid" if is_strict else "ignore")
    return Asked(
        generation=request.read(envelope),
        is_streamed=bool(request.stream),
        writer=CompletionWriter(request, envelope),
    )
