"""The endpoints of the server's paths."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import Field

from onewafer.server.contract.failures import RequestError, UnavailableError
from onewafer.server.contract.service import Health
from onewafer.server.dialects.dialect import Envelope
from onewafer.server.dialects.model_list import find_model
from onewafer.server.dialects.wire import Wire, read_json, read_wire
from onewafer.server.dialects.writing import to_body
from onewafer.server.http.answer import Answer
from onewafer.server.http.body import read_body
from onewafer.server.http.exchange import JSON, exchange_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import Receive, Scope, Send

    from onewafer.server.contract.generation import Generation
    from onewafer.server.contract.json_values import Json
    from onewafer.server.contract.service import Service
    from onewafer.server.dialects.dialect import Asked, Dialect
    from onewafer.server.http.exchange import Exchange
    from onewafer.server.http.metrics import Metrics
    from onewafer.server.http.open_answers import OpenAnswers
    from onewafer.server.http.options import HttpOptions

LARGE_BODY_BYTES = 64 * 1024
"""Larger bodies are parsed in a thread, so that open streams do not wait for it."""
_Value = TypeVar("_Value")
MOST_SECONDS = 1e9
"""About 30 years: beyond that, float64 seconds cannot separate two launches."""
ARRIVAL_HEADER = b"x-onewafer-arrival-seconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of the server that endpoints use."""

    service: Service
    options: HttpOptions
    metrics: Metrics
    open_answers: OpenAnswers

    @property
    def health(self) -> Health:
        """The health of the server."""
        return Health.DRAINING if self.open_answers.is_draining else self.service.health


@dataclass(frozen=True, slots=True)
class Generate:
    """Answers generation requests of one dialect."""

    dialect: Dialect
    parts: Parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del send
        exchange, parts = exchange_of(scope), self.parts
        check_health(parts)
        body = await read_body(receive, exchange, parts.options)
        asked = await read_beside(lambda: self._read(body, exchange), len(body))
        answer = Answer(asked, exchange, service=parts.service, metrics=parts.metrics)
        await parts.open_answers.run(answer, receive)

    def _read(self, body: bytes, exchange: Exchange) -> Asked:
        asked = self.dialect(read_json(body), _envelope(exchange, self.parts.service))
        exchange.model = asked.generation.model
        exchange.is_streamed = asked.is_streamed
        return asked


@dataclass(frozen=True, slots=True)
class CountTokens:
    """Counts the tokens of a prompt, as Anthropic and OpenAI do."""

    parts: Parts
    read: Callable[[Json, Envelope], Generation]
    kind: Mapping[str, Json] = field(default_factory=dict[str, "Json"])
    """Further fields of the answer."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del send
        exchange, parts = exchange_of(scope), self.parts
        check_health(parts)
        body = await read_body(receive, exchange, parts.options)
        generation = await read_beside(lambda: self._read(body, exchange), len(body))
        exchange.model = generation.model
        num_tokens = await parts.service.count_tokens(generation)
        await exchange.respond(200, to_body({**self.kind, "input_tokens": num_tokens}))

    def _read(self, body: bytes, exchange: Exchange) -> Generation:
        return self.read(read_json(body), _envelope(exchange, self.parts.service))


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    body: bytes
    status: int = 200
    media_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Respond:
    """Answers requests without a body; `reply` gets the parameters of the path."""

    reply: Callable[[Mapping[str, str]], Reply]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive, send
        reply = self.reply(scope["path_params"])
        await exchange_of(scope).respond(
            reply.status, reply.body, media_type=reply.media_type, headers=reply.headers
        )


def describe_model(parts: Parts, name: str) -> Reply:
    """Return a model that is served, or raise UnknownModelError."""
    models = parts.service.models
    if not models:  # still loading
        check_health(parts)
    return Reply(to_body(find_model(models, name)))


def describe_health(parts: Parts) -> Reply:
    """Return the health of the server; status 200 if it is ready, else 503."""
    health = parts.health
    return Reply(to_body({"status": health.value}), 200 if health is Health.READY else 503)


class Advance(Wire):
    """The body of a request that advances the clock of the served system."""

    seconds: Annotated[float, Field(ge=0, le=MOST_SECONDS)]


@dataclass(frozen=True, slots=True)
class AdvanceClock:
    """Advances the clock of the served system, with `--pace virtual`."""

    parts: Parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del send
        exchange = exchange_of(scope)
        body = await read_body(receive, exchange, self.parts.options)
        step = read_wire(Advance, read_json(body))
        now = self.parts.service.advance(step.seconds)
        await exchange.respond(200, to_body({"now_seconds": now}))


async def read_beside(read: Callable[[], _Value], num_bytes: int) -> _Value:
    """Return the result of `read`, called in a thread if the body is large."""
    return await asyncio.to_thread(read) if num_bytes > LARGE_BODY_BYTES else read()


def check_health(parts: Parts) -> None:
    """Raise UnavailableError if the server is loading or draining."""
    match parts.health:
        case Health.LOADING:
            raise UnavailableError("the model is being loaded", code="loading")
        case Health.DRAINING:
            raise UnavailableError("the server ends and takes nothing new", code="draining")
        case Health.READY:
            pass


def _envelope(exchange: Exchange, service: Service) -> Envelope:
    return Envelope(
        id=exchange.id,
        created=exchange.created,
        fingerprints={model.id: model.fingerprint for model in service.models},
        arrival_seconds=_arrival(exchange),
    )


def _arrival(exchange: Exchange) -> float | None:
    text = exchange.header(ARRIVAL_HEADER)
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if 0 <= seconds <= MOST_SECONDS:
        return seconds
    raise RequestError(
        f"{ARRIVAL_HEADER.decode()}: {text[:40]!r} is not a number of seconds, 0 to "
        f"{MOST_SECONDS:,.0f}",
        param=ARRIVAL_HEADER.decode(),
    )
