"""Reading of request bodies, with limits of size and time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from onewafer.server.contract.failures import BodyTooLargeError, RequestError, SlowBodyError

if TYPE_CHECKING:
    from starlette.types import Receive

    from onewafer.server.http.exchange import Exchange
    from onewafer.server.http.options import HttpOptions


class GoneError(Exception):
    """The client has disconnected."""


async def read_body(receive: Receive, exchange: Exchange, options: HttpOptions) -> bytes:
    """Return the body of a request.

    Raises BodyTooLargeError, before reading if the size is stated; SlowBodyError; GoneError.
    """
    limit = options.max_body_bytes
    stated = exchange.header(b"content-length")
    if stated.isdecimal() and int(stated) > limit:
        raise _too_large(limit)
    if exchange.header(b"content-encoding") not in ("", "identity"):
        raise RequestError("the body is compressed; send it as it is", code="invalid_encoding")
    try:
        async with asyncio.timeout(options.body_seconds):
            return await _read(receive, limit)
    except TimeoutError:
        raise SlowBodyError(
            f"the body did not come within {options.body_seconds:g} seconds"
        ) from None


async def _read(receive: Receive, limit: int) -> bytes:
    message = await receive()
    pieces: list[bytes] = []
    size = 0
    while message["type"] == "http.request":
        piece: bytes = message.get("body", b"")
        size += len(piece)
        if size > limit:
            raise _too_large(limit)
        pieces.append(piece)
        if not message.get("more_body", False):
            return b"".join(pieces)
        message = await receive()
    raise GoneError


def _too_large(limit: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"the body has more than {limit} bytes, the most that is read")
