"""Access control: keys; without keys, only programs and own pages of this computer."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from onewafer.server.contract.failures import ForbiddenError, UnauthorizedError
from onewafer.web_pages import is_loopback, is_same_origin

if TYPE_CHECKING:
    from onewafer.server.http.exchange import Exchange
    from onewafer.server.http.options import HttpOptions

_ANYBODY = ("/", "/health", "/v1/health", "/tcp_warming", "/v1/tcp_warming")
"""Paths that need no key, since they reveal nothing about the model."""
_ANYBODY_UNDER = "/page/"


class Guard:
    """Checks whether a request is allowed."""

    def __init__(self, options: HttpOptions) -> None:
        self._keys = tuple(key.encode() for key in options.keys)
        self._origins = options.origins

    def check(self, exchange: Exchange) -> None:
        """Raise UnauthorizedError or ForbiddenError if a request is not allowed."""
        if not self._keys:
            self._check_host(exchange)
            self._check_origin(exchange)
        elif exchange.path not in _ANYBODY and not exchange.path.startswith(_ANYBODY_UNDER):
            self._check_key(exchange)

    def _check_key(self, exchange: Exchange) -> None:
        """Compare both headers with every key, in constant time."""
        bearer = exchange.headers.get(b"authorization", b"")
        scheme, _, token = bearer.partition(b" ")
        given = [exchange.headers.get(b"x-api-key", b"")]
        if scheme.lower() == b"bearer":
            given.append(token.strip())
        matches = [hmac.compare_digest(one, key) for one in given for key in self._keys]
        if not any(matches):
            what = "wrong" if any(given) else "missing"
            raise UnauthorizedError(
                f"The key is {what}: send it as 'Authorization: Bearer KEY' or 'x-api-key: KEY'."
            )

    def _check_host(self, exchange: Exchange) -> None:
        """Refuse foreign host names, which could be made to point here (DNS rebinding)."""
        host = exchange.header(b"host")
        if host and not is_loopback(host):
            raise ForbiddenError(
                "Without a key, this server answers only as localhost or 127.0.0.1; "
                f"this request is for {host[:80]!r}. Start it with --api-key to use other names."
            )

    def _check_origin(self, exchange: Exchange) -> None:
        """Refuse pages of other origins: they can send requests, though not read answers."""
        origin = exchange.header(b"origin")
        if not origin or "*" in self._origins or origin in self._origins:
            return
        if not is_same_origin(origin, exchange.header(b"host")):
            raise ForbiddenError(
                f"Pages of {origin[:80]!r} may not ask this server; --cors names those that may."
            )
