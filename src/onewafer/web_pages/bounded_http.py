"""HTTP/1.1 with limits on the bytes, fields and seconds of a request's head.

uvicorn's protocol reads a head of any length, and waits for it for ever, before it calls the
application. This one refuses such a request itself, and closes the connection:

    400   two Host fields; bytes that are no HTTP
    408   a head that is not complete in time
    414   an address that is too long
    431   too many fields, or too many bytes of them, in the head or behind the body

All bytes outside of bodies count: endless blank lines and chunk extensions, too.
"""

from __future__ import annotations

from enum import Enum, auto
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    from asyncio import TimerHandle, Transport

MOST_HEAD_BYTES: Final = 64 * 2**10
MOST_FIELDS: Final = 100
MOST_PIPELINED: Final = 100
"""The most pipelined requests of a connection that wait for earlier answers."""
HEAD_SECONDS = 20.0
"""The time limit of a head, and of the rest of a body after its request was answered."""
KEEP_ALIVE_SECONDS = 75.0
"""The timeout of idle connections: longer than that of clients, which then close first."""
LAST_SECONDS = 1.0
"""The time that a refused client has to read the reason; what it still sends is dropped."""


class _Refused(Exception):  # noqa: N818  # it ends a callback of the parser
    """A request is refused because of its head."""


class _Awaited(Enum):
    """The part of a request that a connection waits for."""

    REQUEST = auto()
    HEAD = auto()
    BODY = auto()


class BoundedHttp(HttpToolsProtocol):
    """A connection to a server, with bounded request heads."""

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401  # those of uvicorn
        super().__init__(*args, **options)
        self.timeout_keep_alive = KEEP_ALIVE_SECONDS
        self._awaited = _Awaited.REQUEST
        self._uncounted = 0
        """Bytes since the last byte of a body, or the end of a request."""
        self._head_bytes = self._num_fields = 0
        self._has_host = False
        self._refusal = HTTPStatus.BAD_REQUEST, "the request is not valid HTTP/1.1"
        self._is_refused = False
        self._deadline: TimerHandle | None = None

    # --- a connection ----------------------------------------------------------------------------

    def connection_made(self, transport: Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  # as uvicorn's
        """Start the keep-alive timeout, for the first request as for later ones."""
        super().connection_made(transport)
        self._keep_alive()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel all timers."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._stop_clock()

    def data_received(self, data: bytes) -> None:
        """Parse received bytes; refuse the client if the request has too many outside of a body."""
        if self._is_refused:
            return
        self._uncounted += len(data)
        super().data_received(data)
        if self._is_refused or self.transport.is_closing():
            return
        if self._uncounted > MOST_HEAD_BYTES:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, _too_large())
        elif self._is_owed():
            self._start_clock()
        else:
            self._stop_clock()
            if self._awaited is _Awaited.REQUEST and self._is_answered():
                self._keep_alive()

    def on_response_complete(self) -> None:
        """Start the timer for the rest of a body that the answer did not need."""
        super().on_response_complete()
        if self._awaited is _Awaited.BODY and self._is_answered():
            self._start_clock()

    # --- the parts of a request ------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Reset the counts at the first byte of a request."""
        super().on_message_begin()
        self._awaited = _Awaited.HEAD
        self._head_bytes = self._num_fields = 0
        self._has_host = False

    def on_url(self, url: bytes) -> None:
        """Add a part of the URL, or refuse one that is too long."""
        self._head_bytes += len(url)
        if self._head_bytes > MOST_HEAD_BYTES:
            self._refusal = HTTPStatus.REQUEST_URI_TOO_LONG, _too_large()
            raise _Refused
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header or trailer field, or refuse too many or a second Host."""
        self._num_fields += 1
        self._head_bytes += len(name) + len(value)
        if self._num_fields > MOST_FIELDS or self._head_bytes > MOST_HEAD_BYTES:
            self._refusal = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, _too_large()
            raise _Refused
        if name.lower() == b"host":
            if self._has_host:
                self._refusal = HTTPStatus.BAD_REQUEST, "the request has two Host fields"
                raise _Refused
            self._has_host = True
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Pass a complete head to the application, or refuse too many pipelined requests."""
        self._awaited = _Awaited.BODY
        self._uncounted = 0
        if len(self.pipeline) >= MOST_PIPELINED:
            raise _Refused
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Pass on a part of a body, whose size the application limits."""
        self._uncounted = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait for the next request."""
        self._awaited = _Awaited.REQUEST
        self._uncounted = 0
        super().on_message_complete()

    # --- the end ---------------------------------------------------------------------------------

    def send_400_response(self, msg: str) -> None:
        """Refuse the request for the reason that a callback has set; by default, invalid HTTP."""
        del msg
        self._refuse(*self._refusal)

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        """Send an error answer, unless another answer is under way, and close the connection."""
        self._is_refused = True
        self._stop_clock()
        self._unset_keepalive_if_required()
        if not self._is_answered() or self._awaited is _Awaited.BODY:
            self.transport.close()
            return
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        fields = f"content-type: text/plain; charset=utf-8\r\ncontent-length: {len(reason)}\r\n"
        self.transport.write(f"{head}{fields}connection: close\r\n\r\n{reason}".encode("ascii"))
        self.transport.write_eof()
        self._deadline = self.loop.call_later(LAST_SECONDS, self.transport.close)

    def _is_answered(self) -> bool:
        """Tell whether the last answer is complete."""
        cycle: Any = self.cycle  # None before the first one
        return cycle is None or cycle.response_complete

    def _is_owed(self) -> bool:
        """Tell whether the connection waits for more bytes of a request that has begun."""
        match self._awaited:
            case _Awaited.REQUEST:
                return self._uncounted > 0
            case _Awaited.HEAD:
                return True
            case _Awaited.BODY:
                return self._is_answered()

    def _keep_alive(self) -> None:
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _start_clock(self) -> None:
        if self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(HEAD_SECONDS, self._end_wait)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end_wait(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            reason = f"the head of the request did not come within {HEAD_SECONDS:g} seconds"
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, reason)


def _too_large() -> str:
    return (
        f"the head of a request may have {MOST_FIELDS} fields and {MOST_HEAD_BYTES} bytes, its "
        "address included"
    )
