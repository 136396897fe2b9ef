"""One HTTP request and its answer, with the facts for the log and the metrics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from onewafer.server.contract.clock import seconds_running, seconds_since_1970

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Scope, Send

    from onewafer.server.contract.events import Completed

_KEY = "onewafer.exchange"
JSON = "application/json"


@dataclass(slots=True)
class Exchange:
    """A request and the state of its answer."""

    id: str
    method: str
    path: str
    headers: Mapping[bytes, bytes]
    """The headers by name; of several with one name, the last."""
    send: Send
    created: float = field(default_factory=seconds_since_1970)
    began: float = field(default_factory=seconds_running)
    """The start, on the clock of `seconds_running`."""
    status: int = 0
    """The HTTP status; 0 before the answer begins."""
    num_bytes: int = 0
    model: str | None = None
    is_streamed: bool = False
    ttft_seconds: float | None = None
    completed: Completed | None = None
    outcome: str = "ok"
    """`ok`, `disconnected`, or the code of the error that ended it."""

    def header(self, name: bytes) -> str:
        """Return a header; '' if it is missing."""
        return self.headers.get(name, b"").decode("latin-1")

    async def respond(
        self,
        status: int,
        body: bytes,
        *,
        media_type: str = JSON,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send a whole answer."""
        await self.begin(status, media_type, {"content-length": str(len(body)), **(headers or {})})
        self.num_bytes += len(body)
        await self.send({"type": "http.response.body", "body": body})

    async def begin(self, status: int, media_type: str, headers: Mapping[str, str]) -> None:
        """Send the head of an answer, with the request's id in OpenAI's and Anthropic's header."""
        self.status = status
        named = {
            "content-type": media_type,
            "x-request-id": self.id,
            "request-id": self.id,
            **headers,
        }
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in named.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": raw})

    async def write(self, text: str) -> None:
        """Send a part of a stream."""
        body = text.encode()
        self.num_bytes += len(body)
        await self.send({"type": "http.response.body", "body": body, "more_body": True})

    async def close(self, text: str = "") -> None:
        """Send the last part of a stream."""
        body = text.encode()
        self.num_bytes += len(body)
        await self.send({"type": "http.response.body", "body": body, "more_body": False})


def keep_exchange(scope: Scope, exchange: Exchange) -> None:
    """Store an exchange in the ASGI scope."""
    scope[_KEY] = exchange


def exchange_of(scope: Scope) -> Exchange:
    """Return the exchange stored by `keep_exchange`."""
    return cast("Exchange", scope[_KEY])
