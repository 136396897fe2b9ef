"""The ASGI application: common handling of every request, then the endpoint of its path."""

from __future__ import annotations

import logging
import math
import secrets
from functools import partial
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route, Router

from onewafer.server.contract.failures import (
    BodyTooLargeError,
    BrokenError,
    BusyError,
    MethodError,
    RequestError,
    SlowBodyError,
    UnauthorizedError,
    UnavailableError,
    UnknownPathError,
)
from onewafer.server.dialects.chat_completions import read_chat
from onewafer.server.dialects.completions import read_completion
from onewafer.server.dialects.error_shapes import anthropic_error, cerebras_error, openai_error
from onewafer.server.dialects.messages import read_counted, read_message
from onewafer.server.dialects.model_list import list_models
from onewafer.server.dialects.responses import read_response, read_response_input
from onewafer.server.dialects.writing import to_body
from onewafer.server.http.access_log import AccessLog
from onewafer.server.http.body import GoneError
from onewafer.server.http.endpoints import (
    AdvanceClock,
    CountTokens,
    Generate,
    Parts,
    Reply,
    Respond,
    describe_health,
    describe_model,
)
from onewafer.server.http.exchange import Exchange, keep_exchange
from onewafer.server.http.guard import Guard
from onewafer.server.http.metrics import MEDIA_TYPE, Metrics
from onewafer.server.http.open_answers import OpenAnswers
from onewafer.server.http.openapi import to_openapi
from onewafer.web_pages import HEADERS, read_page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send

    from onewafer.server.contract.service import Service
    from onewafer.server.dialects.error_shapes import ErrorShape
    from onewafer.server.http.options import HttpOptions

PREFIXES = ("/v1", "")
"""Every path exists twice: the base URL of some clients has no `/v1`."""
_logger = logging.getLogger(__name__)


class App:
    """The ASGI application."""

    def __init__(
        self, service: Service, options: HttpOptions, *, write_log_line: Callable[[str], object]
    ) -> None:
        self.open_answers = OpenAnswers(options.ping_seconds)
        parts = Parts(
            service=service,
            options=options,
            metrics=Metrics(service),
            open_answers=self.open_answers,
        )
        entrance: ASGIApp = Entrance(parts, AccessLog(write_log_line))
        if options.origins:
            entrance = CORSMiddleware(
                entrance,
                allow_origins=options.origins,
                allow_methods=("GET", "POST"),
                allow_headers=("*",),
                expose_headers=("x-request-id", "retry-after"),
            )
        self._entrance = entrance

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        await self._entrance(scope, receive, send)


class Entrance:
    """Checks a request, calls its endpoint, answers with errors, and logs it."""

    def __init__(self, parts: Parts, log: AccessLog) -> None:
        self._parts = parts
        self._log = log
        self._guard = Guard(parts.options)
        routes = list(_routes(parts))
        self._router = Router(routes, redirect_slashes=False, default=_nowhere)
        self._generating = {one.path: one.endpoint for one in routes if _generates(one)}
        """Path → endpoint of most requests; the router would try one route after the other."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an HTTP request."""
        assert scope["type"] == "http", "the server is configured without others"
        exchange = Exchange(
            id=secrets.token_hex(16),
            method=scope["method"],
            path=scope["path"],
            headers=dict(scope["headers"]),
            send=send,
        )
        keep_exchange(scope, exchange)
        scope["app"] = self  # so that the router raises HTTPException
        try:
            await self._answer(scope, receive, send, exchange)
        finally:
            self._log.write(exchange)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, exchange: Exchange) -> None:
        try:
            self._guard.check(exchange)
            is_post = exchange.method == "POST"
            endpoint = self._generating.get(exchange.path) if is_post else None
            await (endpoint or self._router)(scope, receive, send)
        except GoneError:
            exchange.outcome = "disconnected"
        except RequestError as failure:
            await self._refuse(exchange, failure)
        except HTTPException as error:  # of the router
            allowed = (error.headers or {}).get("Allow", "")
            await self._refuse(
                exchange,
                MethodError(f"{exchange.method[:20]} is not possible here; use {allowed}"),
                {"allow": allowed},
            )
        except Exception:
            _logger.exception("request %s broke off", exchange.id)
            await self._refuse(exchange, BrokenError("the server has a bug; its log says more"))

    async def _refuse(
        self,
        exchange: Exchange,
        failure: RequestError,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Answer with an error, in the shape of the dialect."""
        exchange.outcome = failure.code or "refused"
        if exchange.status:  # the answer has begun: the connection is closed
            return
        shape = self._shape(exchange)
        await exchange.respond(
            failure.status,
            to_body(shape(failure, exchange.id)),
            headers={**self._headers(failure), **(headers or {})},
        )

    def _shape(self, exchange: Exchange) -> ErrorShape:
        """Return the form of errors of the client's dialect, known by the path or a header."""
        is_anthropic = b"anthropic-version" in exchange.headers
        if is_anthropic or exchange.path.removeprefix("/v1").startswith("/messages"):
            return anthropic_error
        return cerebras_error if self._parts.options.is_strict else openai_error

    def _headers(self, failure: RequestError) -> dict[str, str]:
        """Return the headers of an error, such as `retry-after`."""
        match failure:
            case BusyError():
                return self._busy_headers(failure.retry_after_seconds)
            case UnavailableError():
                return {"retry-after": "1"}
            case UnauthorizedError():
                return {"www-authenticate": "Bearer"}
            case BodyTooLargeError() | SlowBodyError():
                return {"connection": "close"}
            case _:
                return {}

    def _busy_headers(self, seconds: float) -> dict[str, str]:
        counters = self._parts.service.counters
        room = max(0, counters.most_waiting - counters.waiting)
        return {
            "retry-after": str(max(1, math.ceil(seconds))),
            "retry-after-ms": str(max(1, math.ceil(seconds * 1000))),
            "x-ratelimit-limit-requests": str(counters.most_waiting),
            "x-ratelimit-remaining-requests": str(room),
            "x-ratelimit-reset-requests": f"{seconds:.3f}s",
        }


def _routes(parts: Parts) -> Iterator[Route]:
    service, strict = parts.service, parts.options.is_strict
    chat, completion = (partial(read, is_strict=strict) for read in (read_chat, read_completion))
    for prefix in PREFIXES:
        yield _post(f"{prefix}/chat/completions", Generate(chat, parts))
        yield _post(f"{prefix}/completions", Generate(completion, parts))
        yield _post(f"{prefix}/responses", Generate(read_response, parts))
        yield _post(f"{prefix}/messages", Generate(read_message, parts))
        yield _post(f"{prefix}/messages/count_tokens", CountTokens(parts, read_counted))
        yield _post(
            f"{prefix}/responses/input_tokens",
            CountTokens(parts, read_response_input, {"object": "response.input_tokens"}),
        )
        yield _get(f"{prefix}/models", lambda _: Reply(to_body(list_models(service.models))))
        yield _get(f"{prefix}/models/{{model:path}}", lambda p: describe_model(parts, p["model"]))
        # Cerebras' client opens a connection before it needs one.
        yield _get(f"{prefix}/tcp_warming", lambda _: Reply(to_body({"status": "ok"})))
        yield _get(f"{prefix}/health", lambda _: describe_health(parts))
    for path, file in read_page("onewafer.server.page").items():
        sent = Reply(file.body, media_type=file.media_type, headers=HEADERS)
        yield _get(path, lambda _, sent=sent: sent)
    yield _get("/metrics", lambda _: Reply(parts.metrics.text(), media_type=MEDIA_TYPE))
    yield _get("/openapi.json", lambda _: Reply(to_body(to_openapi(service.models))))
    yield _post("/onewafer/advance", AdvanceClock(parts))


def _generates(route: Route) -> bool:
    return isinstance(route.endpoint, Generate)


def _get(path: str, reply: Callable[[Mapping[str, str]], Reply]) -> Route:
    return Route(path, Respond(reply), methods=("GET",))


def _post(path: str, endpoint: ASGIApp) -> Route:
    return Route(path, endpoint, methods=("POST",))


async def _nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    del receive, send
    path = scope["path"]
    raise UnknownPathError(
        f"nothing is at {path[:80]!r}: OpenAI's clients have the base URL http://HOST/v1, those of "
        "Anthropic and Cerebras http://HOST; GET /openapi.json says what there is"
    )
