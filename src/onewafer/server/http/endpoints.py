"""Endpoints: the answer of each address."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import Field

from onewafer.server.contract.failures import RequestError, UnavailableError
from onewafer.server.contract.service import Health
from onewafer.server.dialects.dialect import Envelope
from onewafer.server.dialects.model_list import find_model, list_models
from onewafer.server.dialects.wire import Wire, read_json, read_wire
from onewafer.server.dialects.writing import to_body
from onewafer.server.http.answer import Answer
from onewafer.server.http.body import read_body
from onewafer.server.http.exchange import exchange_of
from onewafer.server.http.metrics import MEDIA_TYPE, Metrics
from onewafer.web_pages import HEADERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starlette.types import Receive, Scope, Send

    from onewafer.server.contract.generation import Generation
    from onewafer.server.contract.json_values import Json
    from onewafer.server.contract.service import ServedModel, Service
    from onewafer.server.dialects.dialect import Asked, Dialect
    from onewafer.server.http.exchange import Exchange
    from onewafer.server.http.open_answers import OpenAnswers
    from onewafer.server.http.options import HttpOptions
    from onewafer.web_pages import PageFile

LARGE_BODY_BYTES = 64 * 1024
"""Larger bodies are read in a thread: open streams do not wait for them."""
_Value = TypeVar("_Value")
MOST_SECONDS = 1e9
"""About 30 years: later the clock of the served system could not tell two launches apart."""
ARRIVAL_HEADER = b"x-onewafer-arrival-seconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of the server that endpoints work with."""

    service: Service
    options: HttpOptions
    metrics: Metrics
    open_answers: OpenAnswers

    @property
    def health(self) -> Health:
        """The present abilities of the server."""
        return Health.DRAINING if self.open_answers.is_draining else self.service.health


@dataclass(frozen=True, slots=True)
class Generate:
    """Answers requests of one dialect."""

    dialect: Dialect
    parts: Parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read a body and write the answer, for as long as the client is there."""
        del send
        exchange, parts = exchange_of(scope), self.parts
        check_health(parts)
        body = await read_body(receive, exchange, parts.options)
        asked = await read_beside(lambda: self._read(body, exchange), len(body))
        answer = Answer(asked, exchange, service=parts.service, metrics=parts.metrics)
        await parts.open_answers.run(answer, receive)

    def _read(self, body: bytes, exchange: Exchange) -> Asked:
        asked = self.dialect.read(read_json(body), _envelope(exchange, self.parts.service))
        exchange.model = asked.generation.model
        exchange.is_streamed = asked.is_streamed
        return asked


@dataclass(frozen=True, slots=True)
class CountTokens:
    """Counts the tokens of a prompt, as Anthropic and OpenAI do."""

    parts: Parts
    read: Callable[[Json, Envelope], Generation]
    kind: Mapping[str, Json] = field(default_factory=dict[str, "Json"])
    """The envelope of the answer."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read a prompt and write its number of tokens."""
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
class ListModels:
    """Says which models are served."""

    parts: Parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write the list."""
        del receive, send
        models = self.parts.service.models
        await exchange_of(scope).respond(200, to_body(list_models(models)))


@dataclass(frozen=True, slots=True)
class OneModel:
    """Says what a model is."""

    parts: Parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write the model of the path."""
        del receive, send
        models = self.parts.service.models
        if not models:  # not yet
            check_health(self.parts)
        model = find_model(models, scope["path_params"]["model"])
        await exchange_of(scope).respond(200, to_body(model))


@dataclass(frozen=True, slots=True)
class SayHealth:
    """Says whether requests are answered: 200 if so, else 503."""

    parts: Parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write one word."""
        del receive, send
        health = self.parts.health
        status = 200 if health is Health.READY else 503
        await exchange_of(scope).respond(status, to_body({"status": health.value}))


@dataclass(frozen=True, slots=True)
class WarmUp:
    """Opens a connection before it is needed, for Cerebras' client."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write nothing."""
        del receive, send
        await exchange_of(scope).respond(200, to_body({"status": "ok"}))


@dataclass(frozen=True, slots=True)
class Scrape:
    """Writes the metrics."""

    parts: Parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write all of them."""
        del receive, send
        await exchange_of(scope).respond(200, self.parts.metrics.text(), media_type=MEDIA_TYPE)


@dataclass(frozen=True, slots=True)
class Describe:
    """Sends a document about the server that depends on its models."""

    parts: Parts
    describe: Callable[[Sequence[ServedModel]], Json]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write the document."""
        del receive, send
        document = self.describe(self.parts.service.models)
        await exchange_of(scope).respond(200, to_body(document))


@dataclass(frozen=True, slots=True)
class SendFile:
    """Sends a file of the chat page."""

    file: PageFile

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write the file."""
        del receive, send
        file = self.file
        exchange = exchange_of(scope)
        await exchange.respond(200, file.body, media_type=file.media_type, headers=HEADERS)


class Advance(Wire):
    """A step of the clock of the served system."""

    seconds: Annotated[float, Field(ge=0, le=MOST_SECONDS)]


@dataclass(frozen=True, slots=True)
class AdvanceClock:
    """Moves the clock of the served system on, in pace `virtual`."""

    parts: Parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the seconds and write the new time."""
        del send
        exchange = exchange_of(scope)
        body = await read_body(receive, exchange, self.parts.options)
        step = read_wire(Advance, read_json(body))
        now = self.parts.service.advance(step.seconds)
        await exchange.respond(200, to_body({"now_seconds": now}))


async def read_beside(read: Callable[[], _Value], num_bytes: int) -> _Value:
    """Return what `read` makes of a body, beside the event loop if that may take long."""
    return await asyncio.to_thread(read) if num_bytes > LARGE_BODY_BYTES else read()


def check_health(parts: Parts) -> None:
    """Raise UnavailableError if the server answers nothing at present."""
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
